"""What the models of a comparison answered for each image, from their predictions.parquet in DVC's cache."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyarrow import parquet

from formwork.errors import FormworkError
from formwork.evaluation.average_precision import AveragePrecision
from formwork.evaluation.predictions_file import StoredPredictions, read_predictions
from formwork.tools.compare.statistics import Scores

SPLITS = ("val", "test")


@dataclass(frozen=True)
class Answers:
    """The answers of a model for the N images of a split, in the order of their paths.

    Attributes:
        paths: (N,) object, text or bytes. contents: (N,) object, SHA-256 of each file.
        groups: (N,) object, "" for none.
        targets, predicted, probabilities: as StoredPredictions has them.
        names: of the classes, labels or numbers. task: what they are.
    """

    paths: np.ndarray
    contents: np.ndarray
    groups: np.ndarray
    targets: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None
    names: tuple[str, ...]
    task: str

    def same_images(self, other: "Answers") -> bool:
        """Whether both are for the same images, with the same targets."""
        return (
            (self.task, self.names) == (other.task, other.names)
            and np.array_equal(self.paths, other.paths)
            and np.array_equal(self.contents, other.contents)
            and np.array_equal(self.targets, other.targets)
        )

    def same_as(self, other: "Answers") -> bool:
        """Whether both have the same predictions for the same images; of labels, the same probabilities."""
        if self.task == "multilabel" and self.probabilities is not None and other.probabilities is not None:
            return np.array_equal(self.probabilities, other.probabilities)
        return np.array_equal(self.predicted, other.predicted)

    @property
    def right(self) -> np.ndarray:
        """(N,) bool, of classes."""
        return self.predicted == self.targets

    @property
    def units(self) -> np.ndarray:
        """(N,) int64, from 0: images of one group, or of the same content, count as one."""
        keys = np.where(self.groups == "", self.contents, "group " + self.groups)
        return np.unique(keys.astype(str), return_inverse=True)[1].ravel()

    def scores(self, deviations: Sequence[float]) -> Scores:
        """The score of the task: accuracy, mean average precision or mean absolute error.

        Args:
            deviations: of each number, in whose units errors of several numbers are; as formwork.evaluation has it.
        """
        if self.task == "multilabel":
            assert self.probabilities is not None
            precision = AveragePrecision(self.probabilities, self.targets)
            return lambda times: np.nanmean(precision.of(times), axis=0)
        if self.task == "classes":
            values = self.right.astype(np.float64)
        else:
            errors = np.abs(self.predicted - self.targets)
            values = (errors / (np.array(deviations) if len(self.names) > 1 else 1.0)).mean(axis=1)
        return lambda times: (values @ times) / times.sum(axis=0)


def read_answers(path: Path) -> dict[str, Answers]:
    """By split.

    Raises:
        FormworkError: the file is damaged, or of another version.
    """
    stored = read_predictions(path)
    columns = [name for name in ("path", "split", "group", "sha256") if name in parquet.read_schema(path).names]
    table = parquet.read_table(path, columns=columns)
    about = {name: np.array(table[name].to_pylist(), object) for name in columns}
    return dict(_by_split(stored, about, path))


def _by_split(stored: StoredPredictions, about: dict[str, np.ndarray], path: Path) -> Iterator[tuple[str, Answers]]:
    for split in SPLITS:
        rows = np.flatnonzero(about["split"] == split)
        if not len(rows):
            continue
        rows = rows[np.argsort(about["path"][rows], kind="stable")]
        if stored.task == "classes" and (stored.targets[rows] < 0).any():
            raise FormworkError(f"{path} has classes that it does not name. `dvc repro evaluate` writes it again.")
        yield (
            split,
            Answers(
                paths=about["path"][rows],
                contents=about["sha256"][rows],
                groups=about["group"][rows] if "group" in about else np.full(len(rows), "", object),
                targets=stored.targets[rows],
                predicted=stored.predicted[rows],
                probabilities=None if stored.probabilities is None else stored.probabilities[rows],
                names=stored.names,
                task=stored.task,
            ),
        )
