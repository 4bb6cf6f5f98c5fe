"""The link stage: raw images to a manifest and a tree of links for each split, and the dataset's settings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain, compress
from pathlib import Path

import numpy as np

from formwork.cluster.executor import cluster_executor
from formwork.datasets import findings
from formwork.datasets.candidates import LISTED, Candidates, RawFiles, find_files
from formwork.datasets.dataset_settings import make_settings
from formwork.datasets.findings import Finding
from formwork.datasets.groups import ALL, select_group
from formwork.datasets.manifests import label_names, write_split
from formwork.datasets.moved import SPLITS_FILE, name_moved
from formwork.datasets.near_duplicates import clusters, find_near_duplicates
from formwork.datasets.near_findings import near_findings
from formwork.datasets.policy import Policy
from formwork.datasets.sharing import check_filled, share_candidates
from formwork.datasets.tables.assign import TableParams
from formwork.datasets.tables.rows import DAMAGED_TAR, RowFinding
from formwork.datasets.verify import Verification, verify
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.fetched import check_fetched, edited
from formwork.files import check_writable
from formwork.formats import write_json
from formwork.images.containers import sample_files
from formwork.images.manifest import SPLITS
from formwork.images.row import SEPARATOR
from formwork.interim.tree import ensure_tree
from formwork.params import Params
from formwork.text import count

CACHE_FILE = ".verified.sqlite3"  # beside the manifests: no output for DVC, ignored by git, harmless to delete
NEAR_CACHE_FILE = ".near_duplicates.npz"  # the same


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
    data, dataset = params.data, params.dataset
    columns: dict[str, str | list[str]] = dict(dataset.columns.items())
    files = find_files(
        raw, dataset.layout, data.ignore, TableParams(data.name, dataset.task, columns, data.split.group)
    )
    _say(*files.notes, findings.left_out_line(files.left_out, report))
    candidates = _of_group(params, files.candidates, raw)
    # All paths are kept: going back from a group to all classes costs no verification.
    kept_paths = files.candidates.paths
    fetched = check_fetched(raw) if data.name in data.fetch else None
    cache, spans = interim / CACHE_FILE, candidates.spans
    with cluster_executor(params.cluster, "link", interim, sample_files(raw, candidates.paths)) as cluster:
        verified = verify(raw, candidates.paths, data.num_workers, cache, kept_paths, spans, cluster)
        files.tars.check_unchanged()
        if fetched:
            _check_unchanged(raw, candidates, verified, fetched)
        same = findings.equal_rows(verified.sha256, np.flatnonzero(verified.good))
        alike = find_near_duplicates(verified, same, interim / NEAR_CACHE_FILE, cluster)
    together = clusters(alike, same, len(candidates)) if data.on_near_duplicate == "same_split" else None
    shared = share_candidates(raw, candidates, verified, data.split, split_file, together)
    _say(*shared.notes)
    of_manifest = replace(candidates.columns, groups=shared.groups is not None)
    candidates = replace(candidates, splits=shared.splits, groups=shared.groups, columns=of_manifest)
    policy = Policy(data.on_bad_image, data.on_duplicate, data.on_near_duplicate)
    found = findings.collect_findings(candidates, verified, same)
    left_out = {finding.position for finding in found if finding.action(policy) == "left out"}
    found = findings.in_order(candidates, [*found, *near_findings(candidates, alike, same, left_out)])
    used = _judge(candidates, verified, found, files, policy, raw, report)
    positions = {split: np.flatnonzero(used & (candidates.splits == code)) for code, split in enumerate(SPLITS)}
    check_filled(raw, positions, shared)
    _check_classes(candidates, positions, raw)
    _write(params, candidates, verified, positions, raw, interim)
    now = candidates.paths, verified.sha256, candidates.splits
    _say(name_moved(interim / SPLITS_FILE, data.split, *now, used=np.flatnonzero(used)))


def _say(*lines: str | None) -> None:
    for line in filter(None, lines):
        print(line)


def _of_group(params: Params, everything: Candidates, raw: Path) -> Candidates:
    """The candidates of `data.group`."""
    group = params.data.group
    if group != ALL and everything.columns.task != "classes":
        raise DatasetError(
            f"data.group in params.yaml is {group!r}, a group of classes, and {raw} has none: its task is "
            f"{everything.columns.task}. Set data.group: {ALL}."
        )
    return select_group(everything, params.data.name, group, params.dataset.groups)


def _check_unchanged(raw: Path, candidates: Candidates, verified: Verification, fetched: Mapping[str, str]) -> None:
    """Raise DatasetError where a file that `fetch` made has another content; fetched: digests by path."""
    digests = map(bytes.hex, verified.images["sha256"].tolist())
    sound = compress(zip(candidates.paths, digests, strict=True), verified.good)
    changed = [path for path, digest in sound if digest != fetched[path]]
    if changed:
        raise edited(raw, dict.fromkeys(changed, "changed"))


def _judge(
    candidates: Candidates,
    verified: Verification,
    found: Sequence[Finding],
    files: RawFiles,
    policy: Policy,
    raw: Path,
    report: Path,
) -> np.ndarray:
    """Write and say what is wrong with the images.

    Returns:
        (N,) bool: the candidates that are used.

    Raises:
        DatasetError: something is wrong that params.yaml does not allow.
    """
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
    used = verified.good.copy()
    used[[finding.position for finding in found if finding.action(policy) == "left out"]] = False
    return used


def _write(
    params: Params,
    candidates: Candidates,
    verified: Verification,
    positions: Mapping[str, np.ndarray],
    raw: Path,
    interim: Path,
) -> None:
    """Write the manifests, the trees and dataset.json.

    Args:
        positions: by split, those of the candidates that are in it.
    """
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
    labels = label_names(candidates)
    settings = make_settings(params.data.name, params.dataset, candidates.columns, labels, splits, train, targets)
    settings.write(interim / "dataset.json")


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
    stopping_rows = [row for row in rows if row.action(policy) == "stopped"]
    if tars := sum(row.kind == DAMAGED_TAR for row in stopping_rows):
        lines.append(
            f"{count(tars, 'tar')} cannot be read to the end. Get or pack {'it' if tars == 1 else 'them'} anew, or use "
            "what can be read with `-S data.on_bad_image=skip`."
        )
    if bad_rows := len(stopping_rows) - tars:
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
