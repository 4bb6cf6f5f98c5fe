"""predictions.parquet, read: what a model answered for each image that it was evaluated on.

formwork.evaluation.predictions_file says what is in it; it imports torch, which these tools can do without.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from formwork.errors import FormworkError
from formwork.images.manifest import from_hexadecimal
from formwork.images.row import Task
from formwork.tools.diff.images import binary

METADATA = b"formwork"
COLUMNS = ("sha256", "target", "predicted", "probabilities")


@dataclass(frozen=True)
class Predictions:
    """The answers for N images.

    Attributes:
        names: of the L classes or labels, or of the K numbers.
        contents: fixed_size_binary(32), the SHA-256 of each file.
        targets, predicted: by task: (N,) int64 classes, positions in names; (N, L) bool labels; (N, K) float64 numbers.
        probabilities: (N, L) float32; None where a model predicts numbers.
    """

    task: Task
    names: tuple[str, ...]
    contents: pa.ChunkedArray
    targets: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None

    def places(self, contents: pa.ChunkedArray) -> np.ndarray:
        """(M,) int64: the place of an answer for each content, and -1 where there is none."""
        return pc.index_in(contents, value_set=self.contents.combine_chunks()).fill_null(-1).to_numpy().astype(np.int64)


def read_predictions(path: Path) -> Predictions:
    """
    Raises:
        FormworkError: the file is damaged, or of another version.
    """
    try:
        file = parquet.ParquetFile(path)
        about = json.loads((file.schema_arrow.metadata or {})[METADATA])
        task, names = about["task"], tuple(about["names"])
        present = [name for name in COLUMNS if name in file.schema_arrow.names]
        table = file.read(columns=present)
        targets, predicted = (_values(table[name], task, names) for name in ("target", "predicted"))
        probabilities = None
        if task != "regression":
            probabilities = _matrix(table["probabilities"], len(names)).astype(np.float32, copy=False)
        contents = binary(from_hexadecimal(table["sha256"]))
        return Predictions(task, names, contents, targets, predicted, probabilities)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise FormworkError(
            f"{path} holds no predictions of this version of Formwork, or is damaged ({error}). Remove it; `dvc repro "
            "evaluate` writes it again, and `dvc fetch evaluate` brings it back into DVC's cache."
        ) from error


def _values(column: pa.ChunkedArray, task: Task, names: Sequence[str]) -> np.ndarray:
    if task == "regression":
        return _matrix(column, len(names)).astype(np.float64)
    known = pa.array(names, pa.string())
    if task == "classes":
        return pc.index_in(column.cast(pa.string()), value_set=known).to_numpy().astype(np.int64)
    lists = column.combine_chunks()
    labels = np.zeros((len(lists), len(names)), bool)
    labels[pc.list_parent_indices(lists).to_numpy(), pc.index_in(lists.flatten(), value_set=known).to_numpy()] = True
    return labels


def _matrix(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """(N, width) from lists of numbers."""
    return column.combine_chunks().flatten().to_numpy().reshape(-1, width)
