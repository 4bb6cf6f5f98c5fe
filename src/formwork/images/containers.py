"""Images inside other files: rows of Parquet and Arrow files, as Hugging Face datasets have them, read in place.

The path of such an image is that of its file, a slash, and the number of its row: `train.parquet/00000017`. No other
file can have that path, as a file holds no files.
"""

import errno
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from pyarrow import ipc, parquet

MEMBER = re.compile(r"(.+\.(?:parquet|arrow))/(\d{8})", re.DOTALL | re.IGNORECASE)
EXTENSIONS = (".parquet", ".arrow")
IMAGE_NAMES = ("image", "img", "photo", "picture", "jpg", "png", "pixel_values")
"""Names of columns of images; the first that there is counts, where the schema does not say it."""
OPEN = 4  # files that a process keeps open
GROUPS = 2  # row groups of images that a process keeps, of each file


def member(path: str) -> tuple[str, int] | None:
    """The file and the row that a path names; None for that of a file of its own."""
    if not path[-8:].isdigit():  # asked for each image: nearly all end in letters
        return None
    found = MEMBER.fullmatch(path)
    return (found[1], int(found[2])) if found else None


def reads_in_groups(path: str) -> bool:
    """Whether many images are read for any one, as of Parquet files."""
    inside = member(path)
    return inside is not None and inside[0].lower().endswith(".parquet")


def member_path(container: str, row: int) -> str:
    return f"{container}/{row:08d}"


def in_container(folder: str | os.PathLike, path: str) -> tuple[str, int] | None:
    """The container, as it is found from here, and the row of an image below a folder; None for a file of its own."""
    inside = member(path)
    if inside is None or not os.path.isfile(f"{os.fspath(folder)}/{inside[0]}"):
        return None
    return f"{os.fspath(folder)}/{inside[0]}", inside[1]


def image_source(folder: str | os.PathLike, path: str) -> Path | bytes:
    """What an image below a folder is read from: its file, or its bytes where it lies in a container.

    Raises:
        OSError: the container cannot be read; damage is one, with EINVAL.
    """
    inside = in_container(folder, path)
    return Path(folder, path) if inside is None else read_member(*inside)


def read_image(folder: str | os.PathLike, path: str) -> bytes:
    """The bytes of the file of an image. Raises OSError: it cannot be read."""
    if inside := in_container(folder, path):
        return read_member(*inside)
    with open(f"{os.fspath(folder)}/{path}", "rb") as file:  # no Path: of small images, each counts
        return file.read()


def read_member(container: str, row: int) -> bytes:
    """The bytes of an image in a container. Raises OSError: see image_source."""
    with _damage_as_oserror(container):
        data = _opened(container).image(row)
    if data is None:
        raise OSError(errno.EINVAL, "its row holds no image", member_path(container, row))
    return data


def is_there(folder: str | os.PathLike, path: str) -> bool:
    """Whether the file of an image, or its container, is there."""
    return in_container(folder, path) is not None or os.path.isfile(os.path.join(folder, path))


def container_status(path: str) -> tuple[int, int]:
    """The mtime of a container in ns, and a number that another inode or size changes: if they are the same, so is its
    content. Raises OSError."""
    status = os.stat(path)
    return status.st_mtime_ns, (status.st_ino ^ (status.st_size * 0x9E3779B97F4A7C15)) % (1 << 63)


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


class Container(Protocol):
    """A file with an image in each row."""

    schema: pa.Schema

    def __len__(self) -> int: ...

    def image(self, row: int) -> bytes | None:
        """The bytes of an image; None where the row has none."""

    def table(self, names: list[str]) -> pa.Table:
        """Some columns, of all rows. Raises pa.ArrowException, OSError: they are damaged."""


class ArrowContainer:
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


class ParquetContainer:
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


def open_container(path: str) -> Container:
    """Raises OSError: it cannot be read, or is none."""
    with _damage_as_oserror(path):
        container = ParquetContainer(path) if path.lower().endswith(".parquet") else ArrowContainer(path)
        list(container.schema.names)  # those that are no UTF-8 raise here, and nowhere else
        return container


@contextmanager
def _damage_as_oserror(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise OSError(errno.EINVAL, f"it is damaged: {' '.join(str(error).split())[:200]}", path) from error


_open: OrderedDict[tuple[int, str, int, int], Container] = OrderedDict()
_opening = threading.Lock()


def _opened(path: str) -> Container:
    """A container of this process, of those last used."""
    key = (os.getpid(), path, *container_status(path))  # a child of this process opens its own
    with _opening:
        if key not in _open:
            _open[key] = open_container(path)
            while len(_open) > OPEN:
                _open.popitem(last=False)
        _open.move_to_end(key)
        return _open[key]
