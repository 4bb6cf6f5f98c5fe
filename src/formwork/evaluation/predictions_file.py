"""predictions.parquet: what a model answered for each image that it was evaluated on, a row an image.

path: as in the manifest; bytes where any of them is no UTF-8. sha256: of the file, hexadecimal. split: "val" or "test".
group: of the image, "" for none; where a table of labels has groups.
target, predicted: the name of a class, a list of labels, or a list of numbers, by task.
loss: of the image, without label smoothing and weights.
confidence: the probability that the model gives its prediction; of labels, the mean over all of them.
probabilities: of each class or label, in the order of the names below.

The last two are not there where a model predicts numbers. The metadata of the file's schema has, under the key
`formwork`, {"task": ..., "names": [...]} as JSON: the names of the classes, labels or numbers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from formwork.errors import FormworkError
from formwork.files import atomic_write
from formwork.images.manifest import Manifest, binary, from_hexadecimal
from formwork.images.row import Task
from formwork.interim.settings import Settings

if TYPE_CHECKING:  # it imports torch, which tools that read the file can do without
    from formwork.evaluation.predictions import Predictions

METADATA = b"formwork"
READ = ("sha256", "target", "predicted", "probabilities")


def write_predictions(
    path: Path, found: "Mapping[str, Predictions]", manifests: Mapping[str, Manifest], settings: Settings
) -> None:
    """Write the predictions for all splits; the same bytes for the same predictions."""
    parts = [_table(split, predictions, manifests[split], settings) for split, predictions in found.items()]
    table = pa.concat_tables([part.set_column(0, "path", part["path"].cast(_type_of_paths(parts))) for part in parts])
    names = settings.target_names or settings.class_names
    metadata = {METADATA: json.dumps({"task": settings.task, "names": names})}
    with atomic_write(path) as file:
        parquet.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")


def _table(split: str, predictions: "Predictions", manifest: Manifest, settings: Settings) -> pa.Table:
    count = len(predictions)
    columns = {
        "path": manifest.table["path"],
        "sha256": [digest.tobytes().hex() for digest in manifest.sha256],
        "split": pa.array([split] * count),
    }
    if manifest.groups is not None:
        columns["group"] = manifest.table["group"].cast(pa.string())
    if settings.task == "classes":
        names = np.array(settings.class_names)
        columns["target"], columns["predicted"] = names[predictions.targets], names[predictions.likeliest]
        confidence = predictions.answers.max(axis=1)
    elif settings.task == "multilabel":
        columns["target"] = _label_lists(predictions.targets > 0.5, settings.class_names)
        columns["predicted"] = _label_lists(predictions.probable, settings.class_names)
        confidence = np.maximum(predictions.answers, 1 - predictions.answers).mean(axis=1)
    else:
        columns["target"], columns["predicted"] = _lists(manifest.targets), _lists(predictions.answers)
    columns["loss"] = predictions.losses
    if settings.task != "regression":
        columns["confidence"], columns["probabilities"] = confidence, _lists(predictions.answers)
    return pa.table(columns)


def _type_of_paths(parts: Sequence[pa.Table]) -> pa.DataType:
    try:
        for part in parts:
            part["path"].cast(pa.string())
    except pa.ArrowInvalid:
        return pa.binary()
    return pa.string()


def _lists(values: np.ndarray) -> pa.Array:
    """(N, K) numbers as N lists."""
    offsets = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))


def _label_lists(chosen: np.ndarray, names: Iterable[str]) -> pa.Array:
    """(N, K) bool as N lists of names."""
    offsets = np.append(0, np.cumsum(chosen.sum(axis=1))).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.array(list(names))[np.nonzero(chosen)[1]]))


@dataclass(frozen=True)
class StoredPredictions:
    """The answers for N images, as they are read.

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


def read_predictions(path: Path) -> StoredPredictions:
    """
    Raises:
        FormworkError: the file is damaged, or of another version.
    """
    try:
        file = parquet.ParquetFile(path)
        about = json.loads((file.schema_arrow.metadata or {})[METADATA])
        task, names = about["task"], tuple(about["names"])
        present = [name for name in READ if name in file.schema_arrow.names]
        table = file.read(columns=present)
        targets, predicted = (_values(table[name], task, names) for name in ("target", "predicted"))
        probabilities = None
        if task != "regression":
            probabilities = _matrix(table["probabilities"], len(names)).astype(np.float32, copy=False)
        contents = binary(from_hexadecimal(table["sha256"]))
        return StoredPredictions(task, names, contents, targets, predicted, probabilities)
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
