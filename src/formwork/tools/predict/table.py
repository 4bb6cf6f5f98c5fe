"""The table of predictions, as CSV or Parquet: a row an image.

path: as it is found from where the command ran. What no line of text can hold (control characters, bytes that are no
UTF-8) is escaped as Python does it, \\x0a or \\udcff, and a backslash is \\\\; no other path looks like that.
class, probability, class_2, probability_2, ...: the likeliest classes; or
labels, probability.<label>, ...: those more probable than not, and the probability of each; or
the name of each target: its number, in the user's units.
error: why there is no prediction; then all else but the path is empty.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from formwork.errors import FormworkError
from formwork.escapes import FORMULA, printable
from formwork.files import atomic_write
from formwork.formats import csv_text
from formwork.images.columnar import image_column, open_columnar
from formwork.images.manifest import is_manifest
from formwork.images.row import SEPARATOR
from formwork.interim.settings import Settings
from formwork.prediction.model import likeliest

PATH, ERROR = "path", "error"
NOT_FINITE = "the model gives no finite answer"
ROW_GROUP = 8192  # rows that are in memory until they are written


class Table:
    """Rows of predictions, in the columns that the task has."""

    def __init__(self, settings: Settings, top: int):
        """top: how many of the likeliest classes there are columns for."""
        self._settings = settings
        self._top = min(top, len(settings.class_names))
        self._names = np.array(settings.class_names, object)

    def rows(self, paths: Sequence[str], problems: Sequence[str], answers: np.ndarray) -> pa.Table:
        """
        Args:
            problems: (N,) why there is no answer for an image; "" where there is one.
            answers: (M, K) of the others, see Model.answers.
        """
        good = np.array([not problem for problem in problems], bool)
        finite = np.isfinite(answers).all(axis=1)
        texts = np.array(problems, object)
        texts[np.flatnonzero(good)[~finite]] = NOT_FINITE
        good[good] = finite
        columns = {PATH: pa.array([escaped(path) for path in paths], pa.string())}
        columns |= {name: _spread(values, good) for name, values in self._answers(answers[finite]).items()}
        return pa.table(columns | {ERROR: pa.array(map(printable, texts), pa.string(), mask=good)})

    def _answers(self, answers: np.ndarray) -> dict[str, pa.Array]:
        """(M, K) as columns of M values."""
        if self._settings.task == "regression":
            names = self._settings.target_names
            return {_target(name): pa.array(answers[:, k]) for k, name in enumerate(names)}
        if self._settings.task == "multilabel":
            labels = [self._names[row > 0.5].tolist() for row in answers]
            return {"labels": pa.array(labels, pa.list_(pa.string()))} | {
                f"probability.{name}": pa.array(answers[:, k]) for k, name in enumerate(self._names)
            }
        found: dict[str, pa.Array] = {}
        order = likeliest(answers, self._top)
        for rank in range(self._top):
            end = f"_{rank + 1}" if rank else ""
            found[f"class{end}"] = pa.array(self._names[order[:, rank]], pa.string())
            found[f"probability{end}"] = pa.array(np.take_along_axis(answers, order[:, [rank]], axis=1)[:, 0])
        return found


def _target(name: str) -> str:
    return f"target.{name}" if name in (PATH, ERROR) else name


def _spread(values: pa.Array, good: np.ndarray) -> pa.Array:
    """M values at the M places of `good`, null elsewhere."""
    places = np.cumsum(good) - 1
    return values.take(pa.array(places, mask=~good))


def escaped(path: str) -> str:
    """A path in one line of UTF-8, from which it can be had again, and that no spreadsheet takes for a formula."""
    text = printable(path.replace("\\", "\\\\"))
    return f"./{text}" if text.startswith(FORMULA) else text


class Writer(ABC):
    """Writes tables to a file, one after the other."""

    def __init__(self, file: BinaryIO, settings: Settings):
        self._file, self._settings = file, settings

    @abstractmethod
    def write(self, rows: pa.Table) -> None: ...

    @abstractmethod
    def close(self) -> None:
        """Write what is still to be written."""


class CsvWriter(Writer):
    _begun = False

    def write(self, rows: pa.Table) -> None:
        cells = [_texts(column) for column in rows.columns]
        header = [] if self._begun else [rows.column_names]
        self._begun = True
        self._file.write(csv_text([*header, *zip(*cells, strict=True)]).encode())

    def close(self) -> None:
        pass  # all is written


def _texts(column: pa.ChunkedArray) -> list[str]:
    """A column as text; floats with as many digits as tell one float32 from any other."""
    values = column.to_pylist()
    if pa.types.is_list(column.type):
        return ["" if value is None else SEPARATOR.join(value) for value in values]
    if pa.types.is_floating(column.type):
        return ["" if value is None else str(np.float32(value)) for value in values]
    return ["" if value is None else value for value in values]


class ParquetWriter(Writer):
    _writer: parquet.ParquetWriter | None = None

    def __init__(self, file: BinaryIO, settings: Settings):
        super().__init__(file, settings)
        self._waiting: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        self._waiting.append(rows)
        while sum(map(len, self._waiting)) >= ROW_GROUP:
            table = pa.concat_tables(self._waiting)
            self._write(table.slice(0, ROW_GROUP))
            self._waiting = [table.slice(ROW_GROUP)]

    def close(self) -> None:
        if rest := [rows for rows in self._waiting if len(rows) or self._writer is None]:
            self._write(pa.concat_tables(rest))
        if self._writer:
            self._writer.close()

    def _write(self, rows: pa.Table) -> None:
        if self._writer is None:
            names = self._settings.target_names or self._settings.class_names
            about = {"formwork": json.dumps({"task": self._settings.task, "names": names})}
            self._writer = parquet.ParquetWriter(self._file, rows.schema.with_metadata(about), compression="zstd")
        self._writer.write_table(rows)


WRITERS: dict[str, type[Writer]] = {".csv": CsvWriter, ".parquet": ParquetWriter}


def check_output(path: Path) -> None:
    """Raises FormworkError: its name does not say a format, or there is a file of images or a manifest of that name."""
    if path.suffix.lower() not in WRITERS:
        raise FormworkError(f"--output {printable(path)}: the name must end in {' or '.join(WRITERS)}.")
    if path.is_file() and _holds_data(path):
        raise FormworkError(f"--output {printable(path)} would replace data. Name another file, or move it away.")


def _holds_data(path: Path) -> bool:
    if path.suffix.lower() == ".csv":
        return is_manifest(path)
    with suppress(OSError):  # damaged: nobody's data
        return image_column(open_columnar(str(path)).schema) is not None
    return False


@contextmanager
def open_table(path: Path, settings: Settings) -> Iterator[Writer]:
    """A writer for a file, which is there when the block ends well."""
    with atomic_write(path) as file:
        writer = WRITERS[path.suffix.lower()](file, settings)
        yield writer
        writer.close()
