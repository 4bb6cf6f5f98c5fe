"""The dataset of conftest.py with other targets: labels and numbers of each image, weights, and a test split."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from formwork.conversion.write import write_beton
from formwork.folders import Folders
from formwork.images.manifest import SPLITS, read_manifest, write_manifest
from formwork.images.row import Columns, Row
from formwork.interim.settings import read_settings
from formwork.params import BetonParams

BRIGHTNESS = {"blue": 20.0, "green": 40.0, "red": 90.0}
TARGETS = ("brightness", "minus")
LABELS = {"blue": (), "green": ("cold", "lively"), "red": ("lively",)}
NAMES = ("cold", "lively", "unseen")


def retarget(source: Folders, root: Path, task: str, weights: bool = False) -> Folders:
    """A copy of the dataset below `root`, as `link` and `convert` would write it for a table of labels."""
    folders = Folders(source.raw, root / "interim", root / "processed")
    shutil.copytree(source.raw.parent.parent / "interim" / source.raw.name, folders.interim, symlinks=True)
    columns = Columns(task, from_table=True, target_names=TARGETS if task == "regression" else (), weights=weights)
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    for split in ("train", "val"):
        for number, row in enumerate(read_manifest(source.interim / f"{split}.csv").rows):
            to = "test" if split == "val" and number % 3 == 0 else split
            rows[to].append(replace(row, **_targets(task, row), weight=0.5 + number % 3))
    for split, of_split in rows.items():
        manifest = write_manifest(folders.interim / f"{split}.csv", of_split, columns)
        write_beton(manifest, folders.raw, folders.processed / f"{split}.beton", BetonParams(), workers=1)
    changes = {"task": task, "splits": list(SPLITS)}
    if task == "multilabel":
        changes["class_names"] = list(NAMES)
    if task == "regression":
        values = np.array([row.targets for row in rows["train"]])
        changes |= {"class_names": [], "target_names": list(TARGETS)}
        changes |= {"target_mean": values.mean(axis=0).tolist(), "target_std": values.std(axis=0).tolist()}
    settings = read_settings(source.settings)
    settings.model_copy(update=changes).write(folders.interim / "dataset.json")
    return folders


def _targets(task: str, row: Row) -> dict:
    if task == "classes":
        return {}
    if task == "multilabel":
        return {"class_name": "", "label": 0, "labels": LABELS[row.class_name]}
    value = BRIGHTNESS[row.class_name]
    return {"class_name": "", "label": 0, "targets": (value, -1000 * value)}
