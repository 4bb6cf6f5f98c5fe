"""States of a dataset, written down as few words."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from formwork.images.manifest import SPLITS, Manifest, write_manifest
from formwork.images.row import Columns, Row
from formwork.tools.diff.images import Images, gather

State = Iterable[tuple[str, str, str, object]]
"""(split, path, content, target) of each image; the target is a class, a tuple of labels, or a tuple of numbers."""

CLASSES = Columns()


def manifests(folder: Path, state: State, columns: Columns = CLASSES) -> dict[str, Manifest]:
    """The manifest of each split, written into a folder."""
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for split, path, content, target in state:
        named = {"classes": "class_name", "multilabel": "labels", "regression": "targets"}[columns.task]
        values = {"class_name": "", "label": 0, named: target}
        sha256 = hashlib.sha256(content.encode()).hexdigest()
        rows[split].append(
            Row(path=path, bytes=1, width=1, height=1, mode="L", format="PNG", sha256=sha256, **values)  # type: ignore[arg-type]
        )
    return {split: write_manifest(folder / f"{split}.csv", rows[split], columns) for split in SPLITS}


def images(folder: Path, state: State, columns: Columns = CLASSES) -> Images:
    return gather(manifests(folder, state, columns))
