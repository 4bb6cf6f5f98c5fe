"""How two contents of an output differ, and by how much."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from formwork.escapes import printable
from formwork.text import count, format_bytes

Found = tuple[list[str], dict[str, Any]]
"""Sentences, and the same as figures."""


def describe(path: str, before: bytes | None, after: bytes | None) -> Found:
    """How a file differs.

    Args:
        before: as dvc.lock has it; None: it is not there, or its content is not known.
        after: as it was made now.
    """
    if before is None or after is None:
        side = "dvc.lock" if before is None else "this run"
        return [f"{printable(path)}: {side} has no such file, or its content is not in DVC's cache"], {}
    ending = path.rpartition(".")[2].lower()
    try:
        return BY_ENDING.get(ending, _bytes)(before, after)
    except Exception as error:  # whatever libraries raise on a content that is damaged, or of another version
        sentences, figures = _bytes(before, after)
        return [*sentences, f"not compared by meaning: {type(error).__name__}: {error}"], figures


def _bytes(before: bytes, after: bytes) -> Found:
    import numpy as np

    common = min(len(before), len(after))
    a, b = (np.frombuffer(content, np.uint8, common) for content in (before, after))
    differing = int((a != b).sum()) + abs(len(before) - len(after))
    sizes = format_bytes(len(after)) if len(before) == len(after) else f"{len(before):,} and {len(after):,} bytes"
    return [f"{differing:,} bytes differ ({sizes})"], {"bytes": differing, "sizes": [len(before), len(after)]}


def _json(before: bytes, after: bytes) -> Found:
    a, b = (dict(_flat(json.loads(content))) for content in (before, after))
    sentences, figures = [], {}
    for name in {**a, **b}:
        left, right = a.get(name), b.get(name)
        if left == right:
            continue
        apart = f", {right - left:+.6g}" if _is_number(left) and _is_number(right) else ""  # type: ignore[operator]
        sentences.append(f"{name}: {_said(a, name)} in dvc.lock, {_said(b, name)} here{apart}")
        figures[name] = [left, right]
    return sentences or ["the numbers are the same, and their spelling differs"], figures


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _said(values: Mapping[str, Any], name: str) -> str:
    return printable(values[name]) if name in values else "nothing"


def _flat(value: Any, start: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _flat(item, f"{start}.{name}" if start else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _flat(item, f"{start}[{number}]")
    else:
        yield start, value


def _csv(before: bytes, after: bytes, delimiter: str = ",") -> Found:
    a, b = (
        [tuple(row) for row in csv.reader(io.StringIO(content.decode("utf-8", "surrogateescape")), delimiter=delimiter)]
        for content in (before, after)
    )
    return _rows(a, b)


def _tsv(before: bytes, after: bytes) -> Found:
    return _csv(before, after, "\t")


def _parquet(before: bytes, after: bytes) -> Found:
    import pyarrow as pa
    from pyarrow import parquet

    a, b = (parquet.read_table(pa.BufferReader(content)) for content in (before, after))
    if a.schema.names != b.schema.names:
        return [f"columns {', '.join(a.schema.names)} in dvc.lock, {', '.join(b.schema.names)} here"], {}
    sentences, figures = _rows(*([tuple(map(repr, row.values())) for row in side.to_pylist()] for side in (a, b)))
    if len(a) == len(b):
        for name in a.schema.names:
            if apart := _apart(a[name], b[name]):
                sentences.append(f"{name}: largest difference {apart:.3g}")
                figures[f"largest_difference_of_{name}"] = apart
    return sentences, figures


def _apart(a: Any, b: Any) -> float:
    """The largest difference of numbers in two columns, also in lists; 0 where they hold none."""
    import numpy as np
    import pyarrow as pa

    while pa.types.is_list(a.type) or pa.types.is_large_list(a.type):
        a, b = a.combine_chunks().flatten(), b.combine_chunks().flatten()
    if not pa.types.is_floating(a.type) or len(a) != len(b):
        return 0.0
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0.0))


def _rows(a: list[tuple[str, ...]], b: list[tuple[str, ...]]) -> Found:
    """Rows that one side alone has, whatever their order."""
    only_a, only_b = Counter(a) - Counter(b), Counter(b) - Counter(a)
    lost, new = only_a.total(), only_b.total()
    figures = {"rows": [len(a), len(b)], "rows_only_in_lock": lost, "rows_only_here": new}
    if not lost and not new:
        return ["the rows are the same, in another order or spelling"], figures
    return [f"{count(max(lost, new), 'row')} of {max(len(a), len(b)):,} differ"], figures


def _model(before: bytes, after: bytes) -> Found:
    import torch

    a, b = (torch.load(io.BytesIO(content), map_location="cpu", weights_only=True) for content in (before, after))
    return _weights(a.pop("weights"), b.pop("weights"), a, b)


def _safetensors(before: bytes, after: bytes) -> Found:
    from safetensors.torch import load

    return _weights(load(before), load(after), {}, {})


def _weights(a: Mapping[str, Any], b: Mapping[str, Any], about_a: Any, about_b: Any) -> Found:
    sentences: list[str] = []
    shapes = [{name: (tuple(value.shape), value.dtype) for name, value in side.items()} for side in (a, b)]
    if shapes[0] != shapes[1]:
        names = sorted(name for name in {**a, **b} if shapes[0].get(name) != shapes[1].get(name))
        return [f"other weights: {', '.join(map(printable, names))}"], {"other_weights": names}
    apart = {name: float((a[name].double() - b[name].double()).abs().max()) for name in a if a[name].numel()}
    most = max(apart, key=lambda name: _order(apart[name]), default="")
    figures: dict[str, Any] = {}
    if most and apart[most]:
        changed = sum(value != 0 for value in apart.values())
        figures = {"largest_difference_of_weights": apart[most], "tensors_that_differ": changed}
        sentences.append(
            f"{changed} of {count(len(a), 'tensor')} differ; the largest difference of a weight is {apart[most]:.3g}, "
            f"in {printable(most)}"
        )
    if about_a != about_b:
        found, more = _json(*(json.dumps(side, default=str).encode() for side in (about_a, about_b)))
        sentences += found
        figures |= more
    return sentences or ["the weights are the same, and the file differs"], figures


def _order(value: float) -> float:
    return math.inf if math.isnan(value) else value


BY_ENDING: dict[str, Callable[[bytes, bytes], Found]] = {
    "json": _json,
    "csv": _csv,
    "tsv": _tsv,
    "parquet": _parquet,
    "pt": _model,
    "safetensors": _safetensors,
}
