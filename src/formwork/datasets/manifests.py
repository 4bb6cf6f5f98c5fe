"""The manifests that link writes, from what it has found."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from formwork.datasets.candidates import Candidates
from formwork.datasets.tables.values import in_order
from formwork.datasets.verify import Verification
from formwork.images.manifest import Manifest, Values, write_columns
from formwork.images.row import TARGET


def write_split(path: Path, candidates: Candidates, verified: Verification, positions: np.ndarray) -> Manifest:
    """Write the manifest of some of the candidates.

    Args:
        positions: of the candidates, ascending.
    """
    chosen, images = candidates.at(positions), verified.images[positions]
    columns = candidates.columns
    texts = pa.DictionaryArray.from_arrays(chosen.classes, pa.array(candidates.class_names, pa.string()))
    values: dict[str, Values] = {
        "path": chosen.paths,
        "class_name": texts,
        "label": chosen.classes,
        "labels": texts,
        "bytes": images["size"],
        "width": images["width"],
        "height": images["height"],
        "mode": images["mode"],
        "format": images["format"],
        "sha256": verified.sha256[positions],
    }
    if chosen.targets is not None:
        values |= {TARGET + name: chosen.targets[:, place] for place, name in enumerate(columns.target_names)}
    if chosen.groups is not None:
        values["group"] = chosen.groups
    if chosen.weights is not None:
        values["weight"] = chosen.weights
    if chosen.spans is not None:
        values["offset"] = chosen.spans["offset"]
    return write_columns(path, values, columns)


def label_names(candidates: Candidates) -> list[str]:
    """The classes, or all labels, in order; of a regression none."""
    if candidates.columns.task == "multilabel":
        return in_order({name for labels in candidates.label_sets for name in labels})
    return list(candidates.class_names) if candidates.columns.task == "classes" else []
