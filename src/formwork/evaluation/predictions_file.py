"""predictions.parquet: what a model answered for each image that it was evaluated on, a row an image.

path: as in the manifest; bytes where any of them is no UTF-8. sha256: of the file, hexadecimal. split: "val" or "test".
target, predicted: the name of a class, a list of labels, or a list of numbers, by task.
loss: of the image, without label smoothing and weights.
confidence: the probability that the model gives its prediction; of labels, the mean over all of them.
probabilities: of each class or label, in the order of the names below.

The last two are not there where a model predicts numbers. The metadata of the file's schema has, under the key
`formwork`, {"task": ..., "names": [...]} as JSON: the names of the classes, labels or numbers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from formwork.evaluation.predictions import Predictions
from formwork.files import atomic_write
from formwork.images.manifest import Manifest
from formwork.interim.settings import Settings

METADATA = b"formwork"


def write_predictions(
    path: Path, found: Mapping[str, Predictions], manifests: Mapping[str, Manifest], settings: Settings
) -> None:
    """Write the predictions for all splits; the same bytes for the same predictions."""
    parts = [_table(split, predictions, manifests[split], settings) for split, predictions in found.items()]
    table = pa.concat_tables([part.set_column(0, "path", part["path"].cast(_type_of_paths(parts))) for part in parts])
    names = settings.target_names or settings.class_names
    metadata = {METADATA: json.dumps({"task": settings.task, "names": names})}
    with atomic_write(path) as file:
        parquet.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")


def _table(split: str, predictions: Predictions, manifest: Manifest, settings: Settings) -> pa.Table:
    count = len(predictions)
    columns = {
        "path": manifest.table["path"],
        "sha256": [digest.tobytes().hex() for digest in manifest.sha256],
        "split": pa.array([split] * count),
    }
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
