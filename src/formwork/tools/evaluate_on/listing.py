"""The images of another dataset as a manifest with the classes of a model, without a stage of the pipeline."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from formwork.datasets.candidates import LISTED, Candidates, find_files
from formwork.datasets.manifests import label_names, write_split
from formwork.datasets.tables.assign import TableParams
from formwork.datasets.verify import verify
from formwork.errors import DatasetError, did_you_mean
from formwork.escapes import printable
from formwork.images.manifest import SPLITS, Manifest
from formwork.images.row import SEPARATOR
from formwork.interim.settings import Settings
from formwork.params import Dataset, Params
from formwork.text import count

KNOWN_ONLY = "--known-only"


def list_images(
    params: Params, raw: Path, path: Path, settings: Settings, split: str | None, known_only: bool
) -> tuple[Manifest, set[str]]:
    """Verify the images of a dataset as the stage link does, and write a manifest of them.

    Args:
        raw: its folder.
        path: of the manifest.
        settings: of the model.
        split: images of this split alone, where the dataset itself has splits.
        known_only: leave out images of classes, and labels, that the model does not know.

    Returns:
        The manifest, with the labels of the model; and the classes or labels that the dataset has.

    Raises:
        DatasetError: the dataset cannot be used, or not by this model.
    """
    dataset = params.datasets.get(raw.name, Dataset())
    columns: dict[str, str | list[str]] = dict(dataset.columns.items())
    table = TableParams(raw.name, dataset.task, columns, params.data.split.group)
    files = find_files(raw, dataset.layout, params.data.ignore, table)
    for note in files.notes:
        print(note)
    candidates = _of_split(files.candidates, raw, split)
    _check_task(candidates, raw, settings)
    candidates = _with_labels(candidates, raw, settings, known_only)
    if not len(candidates):
        raise DatasetError(f"{raw} has no images of classes that the model knows.")
    verified = verify(
        raw, candidates.paths, params.data.num_workers, path.with_name("verified.sqlite3"), spans=candidates.spans
    )
    files.tars.check_unchanged()
    if verified.bad:
        listed = [
            f"  {printable(candidates.paths[place])}: {bad.kind}, {bad.reason}"
            for place, bad in sorted(verified.bad.items())
        ]
        more = [f"  and {len(listed) - LISTED:,} more"] if len(listed) > LISTED else []
        message = f"{count(len(listed), 'file')} of {len(candidates):,} in {raw} cannot be used as images:"
        if params.data.on_bad_image == "error":
            advice = "Repair or remove them, or leave them out with data.on_bad_image: skip in params.yaml."
            raise DatasetError("\n".join([message, *listed[:LISTED], *more, advice]))
        print("\n".join([message, *listed[:LISTED], *more, "They are left out."]))
    there = {candidates.class_names[code] for code in np.unique(candidates.classes).tolist()}
    if settings.task == "multilabel":
        there = {label for labels in candidates.label_sets for label in labels}
    return write_split(path, candidates, verified, np.flatnonzero(verified.good)), there


def _of_split(candidates: Candidates, raw: Path, split: str | None) -> Candidates:
    codes = candidates.splits
    there = [name for code, name in enumerate(SPLITS) if np.any(codes == code)]
    if split is None:
        if len(there) > 1:
            numbers = [f"{name} {np.count_nonzero(codes == SPLITS.index(name)):,}" for name in there]
            print(f"{raw} has splits, {', '.join(numbers)}: all images are used. --split takes those of one.")
        return candidates
    if split not in there:
        known = f"{did_you_mean(split, there)}" if there else "It has none: leave --split out."
        raise DatasetError(f"{raw} itself says of no image that it is in the split {split!r}. {known}")
    return candidates.at(np.flatnonzero(codes == SPLITS.index(split)))


def _check_task(candidates: Candidates, raw: Path, settings: Settings) -> None:
    columns = candidates.columns
    if columns.task != settings.task:
        raise DatasetError(f"The task of {raw} is {columns.task}, and that of the model {settings.task}.")
    if list(columns.target_names) != settings.target_names:
        theirs, ours = ", ".join(map(printable, columns.target_names)), ", ".join(map(printable, settings.target_names))
        raise DatasetError(
            f"{raw} has the targets {theirs}, and the model predicts {ours}. datasets.{raw.name}.columns.targets in "
            "params.yaml says which columns they are."
        )


def _with_labels(candidates: Candidates, raw: Path, settings: Settings, known_only: bool) -> Candidates:
    """The candidates with the labels of the model."""
    if settings.task == "regression":
        return candidates
    unknown = [name for name in label_names(candidates) if name not in settings.class_names]
    if unknown and not known_only:
        kind = "classes" if settings.task == "classes" else "labels"
        listed = [f"  {printable(name)}: {did_you_mean(name, settings.class_names)}" for name in unknown[:LISTED]]
        more = [f"  and {len(unknown) - LISTED:,} more"] if len(unknown) > LISTED else []
        advice = f"Rename them, or leave them out with {KNOWN_ONLY}."
        raise DatasetError("\n".join([f"{raw} has {kind} that the model was not trained on:", *listed, *more, advice]))
    if settings.task == "multilabel":
        known = set(settings.class_names)
        sets = [tuple(label for label in labels if label in known) for labels in candidates.label_sets]
        return replace(candidates, label_sets=sets, class_names=[SEPARATOR.join(labels) for labels in sets])
    codes = _places(candidates.class_names, settings.class_names)
    candidates = candidates.at(np.flatnonzero(codes[candidates.classes] >= 0))
    columns = replace(candidates.columns, from_table=True)  # a tree of links then has the paths that the images have
    return replace(candidates, columns=columns, class_names=settings.class_names, classes=codes[candidates.classes])


def _places(names: Sequence[str], known: Sequence[str]) -> np.ndarray:
    """(len(names),) int32: where each name stands in `known`; -1 where it does not."""
    places: Mapping[str, int] = {name: place for place, name in enumerate(known)}
    return np.array([places.get(name, -1) for name in names], np.int32)
