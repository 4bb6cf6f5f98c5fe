"""What a beton holds and what it was made from, as text."""

from collections import Counter
from collections.abc import Mapping
from textwrap import fill

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.format import MODE_NAMES
from formwork.escapes import printable
from formwork.text import count, format_bytes
from formwork.tools.inspect.contents import NONE, Contents

WIDTH = 100  # characters a line
BAR = 40  # characters of the longest bar
BINS = 10  # of a histogram, at most
NO_BREAK = "\u00a0"  # a space at which no line ends


def describe(beton: Beton, contents: Contents) -> str:
    """Size, provenance, storage modes, classes, and histograms of bytes and resolutions."""
    size = beton.size
    parts = f", {count(len(beton.files), 'part')}" if len(beton.files) > 1 else ""
    return "\n\n".join(
        [
            f"{beton.path}: {contents}{parts}, {format_bytes(size)} ({size:,} bytes), in pages of "
            f"{format_bytes(beton.page_size)}",
            *_dead(beton, contents),
            _provenance(beton),
            _lines("Fields", _fields(beton)),
            _lines("Stored as", _shares(beton)),
            *_classes(contents),
            "Bytes a sample\n" + histogram(beton.sizes),
            "Resolutions, width x height in pixels\n" + _resolutions(beton),
        ]
    )


def histogram(values: np.ndarray) -> str:
    """A line a bin for positive integers: bins of equal width, or of equal ratio where values differ much; where there
    are few values, one for each of them."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= BINS:
        return _bars({str(value): count for value, count in zip(distinct.tolist(), counts.tolist(), strict=True)})
    low, high = int(distinct[0]), int(distinct[-1]) + 1
    space = np.geomspace if high > 8 * low else np.linspace
    edges = np.unique(np.round(space(low, high, BINS + 1)).astype(np.int64))
    counts, _ = np.histogram(values, edges)
    names = [f"{start} to {stop - 1}" for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    return _bars(dict(zip(names, counts.tolist(), strict=True)))


def _resolutions(beton: Beton) -> str:
    """A histogram of resolutions; where there are many, of the longer sides."""
    sizes = Counter(zip(beton.widths.tolist(), beton.heights.tolist(), strict=True))
    if len(sizes) <= BINS:
        return _bars({f"{width} x {height}": count for (width, height), count in sorted(sizes.items())})
    (width, height), count = max(sizes.items(), key=lambda item: (item[1], item[0]))
    return (
        f"  {len(sizes)} different ones, the most frequent {width} x {height} ({count}); by the longer side:\n"
        + histogram(np.maximum(beton.widths, beton.heights))
    )


def _provenance(beton: Beton) -> str:
    if beton.provenance is None:
        return "No provenance and no checksums: written by FFCV's own writer, or an early version of this one."
    facts = beton.provenance.facts
    return "\n".join(
        [
            *_origin(beton),
            _lines("Params", _pairs(facts["params"])),
            _lines("Software", _pairs({name: v for name, v in facts["software"].items() if v is not None})),
        ]
    )


def _origin(beton: Beton) -> list[str]:
    assert beton.provenance is not None
    if beton.in_parts:
        return [_lines("Made from", "images that a manifest finds by the SHA-256 of their files")]
    made_from = beton.provenance.facts["manifest"]
    return [
        _lines("Made from", f"a manifest of {made_from['images']} images"),
        _lines("", f"with the SHA-256 {made_from['sha256']}"),
    ]


def _pairs(values: Mapping[str, object]) -> str:
    shown = {True: "true", False: "false", None: "null"}  # as params.yaml has them
    return ", ".join(
        f"{name}{NO_BREAK}{shown[value] if value is None or isinstance(value, bool) else value}"
        for name, value in values.items()
    )


def _fields(beton: Beton) -> str:
    first = beton.files[0]
    names = [printable(name) for name in beton.field_names]
    read = [names[i] for i in (first.image_field, first.label_field)]
    others = [name for name in names if name not in read]
    return f"{read[0]}, {read[1]}" + (f"; beside them, and not read: {', '.join(others)}" if others else "")


def _shares(beton: Beton) -> str:
    counts = Counter(beton.modes.tolist())
    return ", ".join(
        f"{name} {counts[mode]} ({counts[mode] / len(beton):.1%})" for mode, name in MODE_NAMES.items() if counts[mode]
    )


def _classes(contents: Contents) -> list[str]:
    if contents.names is None:
        return []
    counts = {label: np.count_nonzero(contents.labels == label) for label in contents.names}
    listed = (f"{name} ({counts[label]})".replace(" ", NO_BREAK) for label, name in contents.names.items())
    return [_lines("Classes", ", ".join(listed))]


def _dead(beton: Beton, contents: Contents) -> list[str]:
    """What no image of the manifest needs."""
    dead = contents.labels == NONE
    if not dead.any():
        return []
    size = int(beton.sizes[dead].sum())
    held = f"{count(int(np.count_nonzero(dead)), 'sample')} of images that are no more, {format_bytes(size)}"
    return [_lines("Beside them", f"{held}; `make repack` removes them")]


def _lines(name: str, text: str) -> str:
    """A name, and beside it text of as many lines as it needs."""
    lines = fill(f"{name:12}{text}", WIDTH, subsequent_indent=" " * 12, break_long_words=False, break_on_hyphens=False)
    return lines.replace(NO_BREAK, " ")


def _bars(counts: Mapping[str, int]) -> str:
    width = max(map(len, counts))
    most = max(counts.values())
    return "\n".join(
        f"  {name:>{width}}  {count:>{len(str(most))}}  {'#' * -(-count * BAR // most)}".rstrip()
        for name, count in counts.items()
    )
