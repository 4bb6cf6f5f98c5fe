"""Parquet and Arrow files with a column of images, as Hugging Face datasets have them, read in place."""

import errno
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

PARQUET = ".parquet"
EXTENSIONS = (PARQUET, ".arrow")
IMAGE_NAMES = ("image", "img", "photo", "picture", "jpg", "png", "pixel_values")
"""Names of columns of images; the first that there is counts, where the schema does not say it."""
GROUPS = 2  # row groups of images that a process keeps, of each file


# --- Schemas --------------------------------------------------------------------------------------


def image_column(schema: pa.Schema) -> str | None:
    """The column that holds images, as files' bytes or as {bytes, path}; None where there is none."""
    fields = {field.name: field.type for field in schema if _holds_bytes(field.type)}
    said = [name for name, feature in features(schema).items() if feature.get("_type") == "Image" and name in fields]
    named = [name for name in IMAGE_NAMES if name in fields and (not said or name in said)]
    return next(iter([*named, *said, *fields]), None)


def features(schema: pa.Schema) -> dict[str, dict]:
    """What Hugging Face's metadata says of each column; {} where there is none."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: feature for name, feature in found.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _holds_bytes(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


# --- Reading --------------------------------------------------------------------------------------


class ColumnarFile(Protocol):
    """A file with an image in each row."""

    schema: pa.Schema

    def __len__(self) -> int: ...

    def image(self, row: int) -> bytes | None:
        """The bytes of an image; None where the row has none."""

    def table(self, names: list[str]) -> pa.Table:
        """Some columns, of all rows. Raises pa.ArrowException, OSError: they are damaged."""


class ArrowFile:
    """An Arrow IPC stream or file, mapped into memory: any row is read by itself."""

    def __init__(self, path: str):
        source = pa.memory_map(path)
        magic = bytes(source.read(6))
        source.seek(0)
        self._table = ipc.open_file(source).read_all() if magic == b"ARROW1" else ipc.open_stream(source).read_all()
        self.schema = self._table.schema
        name = image_column(self.schema)
        self._images = None if name is None else self._table.column(name)
        if self._images is not None:
            self._images.validate(full=True)  # an offset of a damaged file may lead anywhere

    def __len__(self) -> int:
        return len(self._table)

    def image(self, row: int) -> bytes | None:
        if self._images is None or row >= len(self):
            return None
        return _bytes(self._images[row])

    def table(self, names: list[str]) -> pa.Table:
        found = self._table.select(names)
        found.validate(full=True)
        return found


class ParquetFile:
    """A Parquet file: an image is read with all of its row group, of which the last few are kept."""

    def __init__(self, path: str):
        self._file = parquet.ParquetFile(path)
        self.schema = self._file.schema_arrow
        self._name = image_column(self.schema)
        rows = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._ends = np.cumsum(rows)
        self._lock = threading.Lock()
        self._groups: OrderedDict[int, pa.Array] = OrderedDict()

    def __len__(self) -> int:
        return self._file.metadata.num_rows

    def image(self, row: int) -> bytes | None:
        if self._name is None or row >= len(self):
            return None
        group = int(np.searchsorted(self._ends, row, side="right"))
        images = self._group(group)
        return _bytes(images[row - int(self._ends[group]) + len(images)])

    def _group(self, group: int) -> pa.ChunkedArray:
        with self._lock:  # threads that want the same wait for one that reads it
            if group not in self._groups:
                self._groups[group] = self._file.read_row_group(group, [self._name], use_threads=False).column(0)
                while len(self._groups) > GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(group)
            return self._groups[group]

    def table(self, names: list[str]) -> pa.Table:
        found = self._file.read(columns=names)
        found.validate(full=True)
        return found


def _bytes(cell: pa.Scalar) -> bytes | None:
    value = cell["bytes"] if pa.types.is_struct(cell.type) and cell.is_valid else cell
    return value.as_py()


def open_columnar(path: str) -> ColumnarFile:
    """Raises OSError: it cannot be read, or is none."""
    with damage_as_oserror(path):
        found: ColumnarFile = ParquetFile(path) if path.lower().endswith(PARQUET) else ArrowFile(path)
        list(found.schema.names)  # those that are no UTF-8 raise here, and nowhere else
        return found


@contextmanager
def damage_as_oserror(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise OSError(errno.EINVAL, f"it is damaged: {' '.join(str(error).split())[:200]}", path) from error
