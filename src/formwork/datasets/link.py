"""The link stage: raw images to a manifest and a tree of links for each split, and the dataset's settings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from formwork.datasets import findings
from formwork.datasets.candidates import LISTED, find_files
from formwork.datasets.findings import Finding
from formwork.datasets.groups import select_group
from formwork.datasets.verify import verify
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.fetched import check_fetched, edited
from formwork.files import check_writable
from formwork.formats import write_json
from formwork.images.manifest import SPLITS, TRAINING, write_manifest
from formwork.images.row import Row
from formwork.interim.settings import Settings
from formwork.interim.tree import ensure_tree
from formwork.params import Dataset, Operations, Params
from formwork.text import count

LARGEST_AUTO_RESOLUTION = 224
CACHE_FILE = ".verified.sqlite3"  # beside the manifests: no output for DVC, ignored by git, harmless to delete
SMALL = 64  # pixels: in smaller images objects fill the frame, and a crop of 8 % of its area shows nothing of use


def link(params: Params, raw: Path, interim: Path, report: Path) -> None:
    """Verify every image of a raw dataset; write the manifests, the trees and dataset.json.

    Args:
        raw: data/raw/<name>. interim: data/interim/<name>.
        report: CSV of all findings; written also where the stage then stops.

    Raises:
        DatasetError: the dataset is missing or cannot be used; the message names folders, files and what to do.
    """
    check_writable(report, interim / "dataset.json")  # before the work of hours
    data = params.data
    files = find_files(raw, data.split.val, params.dataset.layout, data.ignore)
    everything = files.candidates
    fetched = check_fetched(raw) if data.name in data.fetch else None
    for line in [*files.notes, findings.left_out_line(files.left_out, report)]:
        if line:
            print(line)
    candidates = select_group(everything, data.name, data.group, params.dataset.groups)
    class_names = sorted({candidate.class_name for candidate in candidates})
    labels = {name: label for label, name in enumerate(class_names)}
    paths = [candidate.path for candidate in everything]  # going back from a group to all classes costs no verification
    verified = verify(raw, candidates, labels, data.num_workers, interim / CACHE_FILE, keep=paths)
    if fetched:
        changed = [row.path for row in verified.rows if row is not None and row.sha256 != fetched[row.path]]
        if changed:
            raise edited(raw, dict.fromkeys(changed, "changed"))
    found = findings.collect_findings(candidates, verified.rows, verified.bad)
    policy = (data.on_bad_image, data.on_duplicate)
    findings.write_report(report, candidates, found, files.left_out, *policy)
    actions = Counter(finding.action(*policy) for finding in found)
    summary = findings.summary(candidates, found, *policy)
    if actions["stopped"]:
        raise DatasetError(_stopped(found, policy, summary, f"of {count(len(candidates), 'file')} in {raw}", report))
    if found:
        be = "is" if actions["left out"] == 1 else "are"
        print(f"{summary}\n{count(actions['left out'], 'file')} {be} left out; all findings are listed in {report}.")
    left_out = {finding.position for finding in found if finding.action(*policy) == "left out"}
    rows: dict[str, list[Row]] = {split: [] for split in SPLITS}
    positions: dict[str, list[int]] = {split: [] for split in SPLITS}
    for position, (candidate, row) in enumerate(zip(candidates, verified.rows, strict=True)):
        if row is not None and position not in left_out:
            rows[candidate.split].append(row)
            positions[candidate.split].append(position)
    _check_classes(class_names, rows, raw)
    for split in SPLITS:
        manifest = write_manifest(interim / f"{split}.csv", rows[split])
        write_json(interim / f"{split}.images.json", {"images": len(manifest), "sha256": manifest.images_digest})
        if not len(manifest):
            continue
        ensure_tree(manifest, raw)
        classes = count(len({row.label for row in rows[split]}), "class", "classes")
        print(f"{split}: {count(len(rows[split]), 'image')} of {classes}")
    moments = verified.moments[positions["train"]].sum(axis=0)
    splits = [split for split in SPLITS if rows[split]]
    settings = make_settings(data.name, params.dataset, class_names, splits, rows["train"], moments)
    settings.write(interim / "dataset.json")


def _stopped(found: Sequence[Finding], policy: tuple[str, str], summary: str, total: str, report: Path) -> str:
    """The message of a run that stops, with one sentence for each param that makes it stop.

    Args:
        total: "of ... files in ...", which follows a number of files.
    """
    stopping = [finding for finding in found if finding.action(*policy) == "stopped"]
    bad = sum(finding.kind in findings.BAD for finding in stopping)
    copies = len(stopping) - bad
    lines = ["The raw images cannot be used as they are:", summary]
    if bad:
        lines.append(
            f"{bad:,} {total} cannot be used as images. Repair or remove them, or leave them out with "
            "`-S data.on_bad_image=skip`."
        )
    if copies:
        have = "has" if copies == 1 else "have"
        lines.append(
            f"{copies:,} {total} {have} the bytes of another, and data.on_duplicate is error. Remove copies, leave "
            "them out with `-S data.on_duplicate=skip`, or keep them with `-S data.on_duplicate=report`."
        )
    return "\n".join([*lines, f"All findings are listed in {report}."])


def make_settings(
    name: str, dataset: Dataset, class_names: list[str], splits: list[str], train: Sequence[Row], moments: np.ndarray
) -> Settings:
    """The dataset's entry in params.yaml, with `auto` and what it leaves out worked out on the training images.

    Args:
        moments: (3, 2), by channel the sum of all 8-bit values of the training images, and of their squares.
    """
    if dataset.resolution == "auto":
        shorter = np.median([min(row.width, row.height) for row in train])
        resolution = min(int(shorter), LARGEST_AUTO_RESOLUTION)
    else:
        resolution = dataset.resolution
    mean, square = (moments / sum(row.width * row.height for row in train)).T
    # Images of a single value have no spread: at least one grey level, as the loaders divide by it.
    std = np.maximum(np.sqrt(np.maximum(square - mean**2, 0)), 1)
    augment = dataset.augment
    return Settings(
        name=name,
        task="classes",
        class_names=class_names,
        target_names=[],
        splits=splits,
        resolution=resolution,
        mean=_rounded(mean) if dataset.mean == "auto" else dataset.mean,
        std=_rounded(std) if dataset.std == "auto" else dataset.std,
        augment_train=_default_train_augmentation(resolution) if augment.train is None else augment.train,
        augment_val=[{"CenterCrop": {}}] if augment.val is None else augment.val,
    )


def _rounded(values: np.ndarray) -> list[float]:
    """8-bit values in units of 0 to 1, with four decimals."""
    return [round(float(value) / 255, 4) for value in values]


def _default_train_augmentation(resolution: int) -> Operations:
    if resolution < SMALL:
        return [{"CenterCrop": {}}, {"RandomCrop": {"padding": max(resolution // 8, 1)}}, {"RandomHorizontalFlip": {}}]
    return [{"RandomResizedCrop": {}}, {"RandomHorizontalFlip": {}}]


def _check_classes(class_names: Sequence[str], rows: Mapping[str, Sequence[Row]], raw: Path) -> None:
    counts = {split: Counter(row.class_name for row in rows[split]) for split in SPLITS}
    for split in TRAINING:
        if not counts[split]:
            raise DatasetError(
                f"No images in the {split} split of {raw}. Add images, or change data.split in params.yaml."
            )
    missing = [name for name in class_names if not counts["train"][name]]
    if missing:
        raise DatasetError(
            f"No training images of class {', '.join(map(printable, missing[:LISTED]))} in {raw}. Add images, or "
            "remove its folder."
        )
    unseen = [name for name in class_names if not counts["val"][name]]
    if unseen:
        print(f"WARNING: no validation images of class {', '.join(map(printable, unseen[:LISTED]))}.")
