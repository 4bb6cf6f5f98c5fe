"""The models whose predictions are asked, and what they answered for images that they were not trained on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork.errors import FormworkError
from formwork.evaluation.predictions_file import StoredPredictions
from formwork.git import experiments, read_files
from formwork.images.row import SEPARATOR
from formwork.tools.diff.images import Images
from formwork.yaml import YamlError, parse_yaml

FOLDS = re.compile(rb"\bfolds:\s*\d")


@dataclass(frozen=True)
class Fold:
    """A DVC experiment that validated on one of several folds."""

    revision: str
    folds: int
    fold: int


def find_folds(root: Path, dataset: str) -> list[Fold]:
    """The newest experiment of each fold, for as many folds as the newest one has; none where there are no folds.

    Raises:
        FormworkError: it is no git repository.
    """
    revisions = [revision for revision, _ in experiments(root)]
    contents = read_files(root, [f"{revision}:params.yaml" for revision in revisions])
    found: dict[int, Fold] = {}
    for revision, content in zip(revisions, contents, strict=True):
        if content is None or not FOLDS.search(content):  # far faster than to parse hundreds
            continue
        try:
            data = parse_yaml(content, "params.yaml")["data"]
            one = Fold(revision, int(data["split"]["folds"]), int(data["split"]["fold"]))
        except (YamlError, KeyError, TypeError, ValueError):  # of another version
            continue
        if data["name"] == dataset and one.folds == next(iter(found.values()), one).folds:
            found.setdefault(one.fold, one)
        if len(found) == one.folds:
            break
    return [found[number] for number in sorted(found)]


@dataclass(frozen=True)
class Answers:
    """M images that models were asked about which were not trained on them.

    Attributes:
        rows: (M,) int64, of the images.
        names: of the L classes or labels, or of the K numbers.
        given: by task: (M,) int64 classes; (M, L) bool labels; (M, K) float64 numbers.
        answers: (M, L) float32 probabilities, or (M, K) float64 numbers: the mean where several models were asked.
    """

    rows: np.ndarray
    names: tuple[str, ...]
    given: np.ndarray
    answers: np.ndarray


def collect(images: Images, runs: Sequence[StoredPredictions]) -> Answers:
    """What all runs together answered for images, whose labels are those that they have now.

    Raises:
        FormworkError: the runs are of different classes, or of another task than the images.
    """
    first = runs[0]
    if any((run.task, run.names) != (first.task, first.names) for run in runs) or first.task != images.task:
        raise FormworkError(
            "The predictions are not all of the classes, labels or numbers that the dataset has now. Run the "
            "experiments again, or name those that belong together."
        )
    places = [run.places(images.contents) for run in runs]
    asked = np.any([place >= 0 for place in places], axis=0)
    given, known = _given(images, first)
    rows = np.flatnonzero(asked & known)
    total = np.zeros((len(rows), len(first.names)), np.float64 if first.probabilities is None else np.float32)
    counts = np.zeros((len(rows), 1), total.dtype)
    for run, place in zip(runs, places, strict=True):
        there = place[rows] >= 0
        values = run.predicted if run.probabilities is None else run.probabilities
        total[there] += values[place[rows][there]]
        counts[there] += 1
    return Answers(rows, first.names, given[rows], total / counts)


def _given(images: Images, run: StoredPredictions) -> tuple[np.ndarray, np.ndarray]:
    """The targets of all images as Answers.given has them; and (N,) bool, where the models know all of their labels."""
    names = pa.array(run.names, pa.string())
    every = np.ones(len(images), bool)
    if images.task == "regression":
        if images.target_names != run.names:
            raise FormworkError(f"The predictions are of {', '.join(run.names)}. Run `dvc repro`.")
        return images.numbers_of(np.arange(len(images))), every
    if images.task == "classes":
        place = pc.index_in(images.targets, value_set=names).fill_null(-1).to_numpy()
        return place.astype(np.int64), place >= 0
    lists = pc.split_pattern(images.targets, SEPARATOR).combine_chunks()
    row = pc.list_parent_indices(lists).to_numpy()
    labels = lists.flatten()
    place = pc.index_in(labels, value_set=names).fill_null(-1).to_numpy()
    given = np.zeros((len(images), len(names)), bool)
    given[row[place >= 0], place[place >= 0]] = True
    unknown = (place < 0) & pc.not_equal(labels, "").to_numpy(zero_copy_only=False)
    every[row[unknown]] = False
    return given, every
