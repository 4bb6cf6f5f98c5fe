"""The link stage: raw images to a manifest and a tree of links for each split, and the dataset's settings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, compress
from pathlib import Path

import numpy as np
import pyarrow as pa

from formwork.datasets import findings
from formwork.datasets.candidates import LISTED, Candidates, find_files
from formwork.datasets.findings import Finding
from formwork.datasets.groups import ALL, select_group
from formwork.datasets.moved import SPLITS_FILE, name_moved
from formwork.datasets.near_duplicates import clusters, find_near_duplicates
from formwork.datasets.near_findings import near_findings
from formwork.datasets.policy import Policy
from formwork.datasets.sharing import check_filled, share_candidates
from formwork.datasets.tables.assign import TableParams
from formwork.datasets.tables.rows import RowFinding
from formwork.datasets.tables.values import in_order
from formwork.datasets.verify import Verification, verify
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.fetched import check_fetched, edited
from formwork.files import check_writable
from formwork.formats import write_json
from formwork.images.manifest import SPLITS, Manifest, Values, write_columns
from formwork.images.row import SEPARATOR, TARGET, Columns
from formwork.interim.settings import Settings
from formwork.interim.tree import ensure_tree
from formwork.params import Dataset, Operations, Params
from formwork.text import count

LARGEST_AUTO_RESOLUTION = 224
CACHE_FILE = ".verified.sqlite3"  # beside the manifests: no output for DVC, ignored by git, harmless to delete
NEAR_CACHE_FILE = ".near_duplicates.npz"  # the same
SMALL = 64  # pixels: in smaller images objects fill the frame, and a crop of 8 % of its area shows nothing of use


def link(params: Params, raw: Path, interim: Path, report: Path, split_file: Path | None = None) -> None:
    """Verify every image of a raw dataset; write the manifests, the trees and dataset.json.

    Args:
        raw: data/raw/<name>. interim: data/interim/<name>.
        report: CSV of all findings; written also where the stage then stops.
        split_file: data/splits/<name>.csv, which need not be there.

    Raises:
        DatasetError: the dataset is missing or cannot be used; the message names folders, files and what to do.
    """
    check_writable(report, interim / "dataset.json")  # before the work of hours
    data = params.data
    dataset = params.dataset
    columns: dict[str, str | list[str]] = dict(dataset.columns.items())
    table = TableParams(data.name, dataset.task, columns, data.split.group)
    files = find_files(raw, dataset.layout, data.ignore, table)
    everything = files.candidates
    fetched = check_fetched(raw) if data.name in data.fetch else None
    for line in [*files.notes, findings.left_out_line(files.left_out, report)]:
        if line:
            print(line)
    if data.group != ALL and everything.columns.task != "classes":
        raise DatasetError(
            f"data.group in params.yaml is {data.group!r}, a group of classes, and {raw} has none: its task is "
            f"{everything.columns.task}. Set data.group: {ALL}."
        )
    candidates = select_group(everything, data.name, data.group, dataset.groups)
    # All paths are kept: going back from a group to all classes costs no verification.
    verified = verify(raw, candidates.paths, data.num_workers, interim / CACHE_FILE, keep=everything.paths)
    if fetched:
        digests = map(bytes.hex, verified.images["sha256"].tolist())
        sound = compress(zip(candidates.paths, digests, strict=True), verified.good)
        changed = [path for path, digest in sound if digest != fetched[path]]
        if changed:
            raise edited(raw, dict.fromkeys(changed, "changed"))
    same = findings.equal_rows(verified.sha256, np.flatnonzero(verified.good))
    alike = find_near_duplicates(verified, same, interim / NEAR_CACHE_FILE)
    together = clusters(alike, same, len(candidates)) if data.on_near_duplicate == "same_split" else None
    shared = share_candidates(raw, candidates, verified, data.split, split_file, together)
    print("\n".join(shared.notes), end="\n" if shared.notes else "")
    candidates = replace(candidates, splits=shared.splits)
    policy = Policy(data.on_bad_image, data.on_duplicate, data.on_near_duplicate)
    found = findings.collect_findings(candidates, verified, same)
    left_out = {finding.position for finding in found if finding.action(policy) == "left out"}
    found = findings.in_order(candidates, [*found, *near_findings(candidates, alike, same, left_out)])
    findings.write_report(report, candidates, found, files.rows, files.left_out, policy)
    actions = Counter(finding.action(policy) for finding in chain[Finding | RowFinding](found, files.rows))
    summary = findings.summary(candidates, found, files.rows, policy)
    if actions["stopped"]:
        total = f"of {count(len(candidates), 'file')} in {raw}"
        raise DatasetError(_stopped(found, files.rows, policy, summary, total, report))
    if found or files.rows:
        be = "is" if actions["left out"] == 1 else "are"
        what = ("file or row", "files or rows") if files.rows else ("file", "files")
        print(f"{summary}\n{count(actions['left out'], *what)} {be} left out; all findings are listed in {report}.")
    kept = verified.good.copy()
    kept[[finding.position for finding in found if finding.action(policy) == "left out"]] = False
    positions = {split: np.flatnonzero(kept & (candidates.splits == code)) for code, split in enumerate(SPLITS)}
    check_filled(raw, positions, shared)
    _check_classes(candidates, positions, raw)
    labels = label_names(candidates)
    for split in SPLITS:
        manifest = write_split(interim / f"{split}.csv", candidates, verified, positions[split])
        write_json(interim / f"{split}.images.json", {"images": len(manifest), "sha256": manifest.images_digest})
        if not len(manifest):
            continue
        ensure_tree(manifest, raw)
        of = f" of {count(len(np.unique(manifest.labels)), 'class', 'classes')}" if manifest.task == "classes" else ""
        print(f"{split}: {count(len(manifest), 'image')}{of}")
    splits = [split for split in SPLITS if len(positions[split])]
    train = verified.images[positions["train"]]
    targets = None if candidates.targets is None else candidates.targets[positions["train"]]
    settings = make_settings(data.name, dataset, candidates.columns, labels, splits, train, targets)
    settings.write(interim / "dataset.json")
    now = candidates.paths, verified.sha256, candidates.splits
    if moved := name_moved(interim / SPLITS_FILE, data.split, *now, used=np.flatnonzero(kept)):
        print(moved)


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
    return write_columns(path, values, columns)


def label_names(candidates: Candidates) -> list[str]:
    """The classes, or all labels, in order; of a regression none."""
    if candidates.columns.task == "multilabel":
        return in_order({name for labels in candidates.label_sets for name in labels})
    return list(candidates.class_names) if candidates.columns.task == "classes" else []


def _stopped(
    found: Sequence[Finding],
    rows: Sequence[RowFinding],
    policy: Policy,
    summary: str,
    total: str,
    report: Path,
) -> str:
    """The message of a run that stops, with one sentence for each param that makes it stop.

    Args:
        total: "of ... files in ...", which follows a number of files.
    """
    stopping = [finding for finding in found if finding.action(policy) == "stopped"]
    bad = sum(finding.kind in findings.BAD for finding in stopping)
    near = sum(finding.kind in findings.NEAR_DUPLICATES for finding in stopping)
    copies = len(stopping) - bad - near
    lines = ["The raw images cannot be used as they are:", summary]
    if bad:
        lines.append(
            f"{bad:,} {total} cannot be used as images. Repair or remove them, or leave them out with "
            "`-S data.on_bad_image=skip`."
        )
    if bad_rows := sum(row.action(policy) == "stopped" for row in rows):
        lines.append(
            f"{count(bad_rows, 'row')} of the table of labels cannot be used. Correct the table, or leave out what "
            "cannot be used with `-S data.on_bad_image=skip`."
        )
    if copies:
        have = "has" if copies == 1 else "have"
        lines.append(
            f"{copies:,} {total} {have} the bytes of another, and data.on_duplicate is error. Remove copies, leave "
            "them out with `-S data.on_duplicate=skip`, or keep them with `-S data.on_duplicate=report`."
        )
    if near:
        looks = "looks" if near == 1 else "look"
        lines.append(
            f"{near:,} {total} {looks} like another, and data.on_near_duplicate is error. Look at the pairs, and "
            "remove copies, leave them out with `-S data.on_near_duplicate=skip`, keep all of an image in the same "
            "split with `=same_split`, or keep them with `=report`."
        )
    return "\n".join([*lines, f"All findings are listed in {report}."])


def make_settings(
    name: str,
    dataset: Dataset,
    columns: Columns,
    class_names: list[str],
    splits: list[str],
    train: np.ndarray,
    targets: np.ndarray | None = None,
) -> Settings:
    """The dataset's entry in params.yaml, with `auto` and what it leaves out worked out on the training images.

    Args:
        train: (N,) RECORD, what verification found in the training images.
        targets: (N, K) numbers to predict for them.
    """
    widths, heights = (train[side].astype(np.int64) for side in ("width", "height"))
    if dataset.resolution == "auto":
        shorter = np.median(np.minimum(widths, heights))
        resolution = min(int(shorter), LARGEST_AUTO_RESOLUTION)
    else:
        resolution = dataset.resolution
    moments = train["moments"].sum(axis=0).reshape(3, 2)
    mean, square = (moments / int((widths * heights).sum())).T
    # Images of a single value have no spread: at least one grey level, as the loaders divide by it.
    std = np.maximum(np.sqrt(np.maximum(square - mean**2, 0)), 1)
    augment = dataset.augment
    target_mean, target_std = ([], []) if targets is None else _target_statistics(targets)
    return Settings(
        name=name,
        task=columns.task,
        class_names=class_names,
        target_names=list(columns.target_names),
        target_mean=target_mean,
        target_std=target_std,
        splits=splits,
        resolution=resolution,
        mean=_rounded(mean) if dataset.mean == "auto" else dataset.mean,
        std=_rounded(std) if dataset.std == "auto" else dataset.std,
        augment_train=_default_train_augmentation(resolution) if augment.train is None else augment.train,
        augment_val=[{"CenterCrop": {}}] if augment.val is None else augment.val,
    )


def _target_statistics(targets: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column of (N, K) numbers to predict; a deviation of 1 where all are equal.

    To six digits, beyond which they depend on the order in which a processor adds.
    """
    mean, std = targets.mean(axis=0, dtype=np.float64), targets.std(axis=0, dtype=np.float64)
    std = np.where(std > np.abs(mean) * 1e-12, std, 1)
    return _six_digits(mean), _six_digits(std)


def _six_digits(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _rounded(values: np.ndarray) -> list[float]:
    """8-bit values in units of 0 to 1, with four decimals."""
    return [round(float(value) / 255, 4) for value in values]


def _default_train_augmentation(resolution: int) -> Operations:
    if resolution < SMALL:
        return [{"CenterCrop": {}}, {"RandomCrop": {"padding": max(resolution // 8, 1)}}, {"RandomHorizontalFlip": {}}]
    return [{"RandomResizedCrop": {}}, {"RandomHorizontalFlip": {}}]


def _check_classes(candidates: Candidates, positions: Mapping[str, np.ndarray], raw: Path) -> None:
    """positions: by split, those of the candidates that are in it."""
    names, task = label_names(candidates), candidates.columns.task
    if task == "regression":
        return
    kind = "class" if task == "classes" else "label"

    def without(split: str) -> list[str]:
        found = [candidates.class_names[code] for code in np.unique(candidates.classes[positions[split]]).tolist()]
        if task == "multilabel":
            found = [name for labels in found for name in labels.split(SEPARATOR)]
        return sorted(set(names) - set(found), key=names.index)

    if len(names) < (2 if task == "classes" else 1):
        raise DatasetError(f"{raw} has {count(len(names), kind, f'{kind}es')}: there is nothing to tell apart.")
    missing = without("train")
    if missing and task == "multilabel":
        print(f"WARNING: no training images of label {', '.join(map(printable, missing[:LISTED]))}.")
    elif missing:
        raise DatasetError(
            f"No training images of class {', '.join(map(printable, missing[:LISTED]))} in {raw}. Add images, or "
            f"remove {'its rows from the table' if candidates.columns.from_table else 'its folder'}."
        )
    if unseen := without("val"):
        print(f"WARNING: no validation images of {kind} {', '.join(map(printable, unseen[:LISTED]))}.")
