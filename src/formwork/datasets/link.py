"""The link stage: raw images to a manifest, a tree of links and the dataset's settings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from formwork.datasets.groups import select
from formwork.datasets.manifest import SPLITS, write_manifest
from formwork.datasets.scan import LISTED, BadFile, Image8, find_candidates, inspect_all
from formwork.datasets.settings import Settings
from formwork.datasets.tree import ensure_tree
from formwork.errors import DatasetError
from formwork.files import write_csv
from formwork.params import Dataset, Operations, Params

LARGEST_AUTO_RESOLUTION = 224
SMALL = 64  # pixels; below it objects fill the image and a crop of 8 % of its area shows nothing


def link(params: Params, raw: Path, interim: Path, report: Path) -> None:
    """Verify every image of a raw dataset; write the manifests, the trees and dataset.json.

    Args:
        raw: data/raw/<name>. interim: data/interim/<name>.
        report: CSV that lists the files left out.

    Raises:
        DatasetError: the dataset is missing or cannot be used; the message names folders, files and what to do.
    """
    candidates = find_candidates(raw, params.data.val_fraction)
    candidates = select(candidates, params.data.name, params.data.group, params.dataset.groups)
    good: list[Image8] = []
    bad: list[BadFile] = []
    for result in inspect_all(raw, candidates, max(params.data.num_workers, 1)):
        (bad if isinstance(result, BadFile) else good).append(result)
    write_csv(report, [("path", "reason"), *((b.path, b.reason) for b in bad)])
    if bad and params.data.on_bad_image == "error":
        raise DatasetError(
            f"{_listing(bad)}\n{len(bad)} of {len(candidates)} files in {raw} are no readable images; all are listed "
            f"in {report}. Repair or remove them, or leave them out with `-S data.on_bad_image=skip`."
        )
    if bad:
        print(f"{_listing(bad)}\n{len(bad)} unreadable files are left out; all are listed in {report}.")

    class_names = sorted({candidate.class_name for candidate in candidates})
    _check_classes(class_names, good, raw)
    number = {name: label for label, name in enumerate(class_names)}
    for split in SPLITS:
        rows = [replace(g.row, label=number[g.row.class_name]) for g in good if g.split == split]
        ensure_tree(write_manifest(interim / f"{split}.csv", rows), raw)
        print(f"{split}: {len(rows)} images of {len({row.label for row in rows})} classes")
    train = [g for g in good if g.split == "train"]
    settings(params.data.name, params.dataset, class_names, train).write(interim / "dataset.json")


def settings(name: str, dataset: Dataset, class_names: list[str], train: Sequence[Image8]) -> Settings:
    """The dataset's entry in params.yaml with each `auto` worked out on the training images."""
    resolution = dataset.resolution
    if resolution == "auto":
        shorter = np.median([min(image.row.width, image.row.height) for image in train])
        resolution = min(int(shorter), LARGEST_AUTO_RESOLUTION)
    pixels = sum(image.row.width * image.row.height for image in train)
    mean = sum(image.sums for image in train) / pixels
    # Grey images of one value have no spread: divide by one grey level rather than by zero.
    std = np.maximum(np.sqrt(np.maximum(sum(i.squares for i in train) / pixels - mean**2, 0)), 1)
    return Settings(
        name=name,
        class_names=class_names,
        resolution=resolution,
        mean=_rounded(mean) if dataset.mean == "auto" else dataset.mean,
        std=_rounded(std) if dataset.std == "auto" else dataset.std,
        augment_train=_default_train(resolution) if dataset.augment.train is None else dataset.augment.train,
        augment_val=[{"CenterCrop": {}}] if dataset.augment.val is None else dataset.augment.val,
    )


def _rounded(values: np.ndarray) -> list[float]:
    """8-bit units to 0 to 1, with as many digits as people write."""
    return [round(float(value) / 255, 4) for value in values]


def _default_train(resolution: int) -> Operations:
    if resolution < SMALL:
        return [{"CenterCrop": {}}, {"RandomCrop": {"padding": max(resolution // 8, 1)}}, {"RandomHorizontalFlip": {}}]
    return [{"RandomResizedCrop": {}}, {"RandomHorizontalFlip": {}}]


def _check_classes(class_names: Sequence[str], good: Sequence[Image8], raw: Path) -> None:
    counts = {split: Counter(g.row.class_name for g in good if g.split == split) for split in SPLITS}
    for split in SPLITS:
        if not counts[split]:
            raise DatasetError(
                f"No images in the {split} split of {raw}. Add images, or change data.val_fraction in params.yaml."
            )
    missing = [name for name in class_names if not counts["train"][name]]
    if missing:
        raise DatasetError(
            f"No training images of class {', '.join(missing[:LISTED])} in {raw}. Add images, or remove its folder."
        )
    unseen = [name for name in class_names if not counts["val"][name]]
    if unseen:
        print(f"WARNING: no validation images of class {', '.join(unseen[:LISTED])}.")


def _listing(bad: Sequence[BadFile]) -> str:
    lines = [f"  {b.path}: {b.reason}" for b in bad[:LISTED]]
    if len(bad) > LISTED:
        lines.append(f"  ... and {len(bad) - LISTED} more")
    return "\n".join(lines)
