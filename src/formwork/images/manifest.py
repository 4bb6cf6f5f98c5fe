"""Manifests: one CSV a split that says exactly which images it holds. Everything downstream is made from them."""

import binascii
import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from formwork.errors import DatasetError
from formwork.escapes import is_text
from formwork.files import atomic_write
from formwork.formats import csv_text
from formwork.images.row import FOLDERS, SEPARATOR, TARGET, Columns, Row, Task

# For the whole process. Arrow's own pool keeps what parsing took, more than the columns themselves, and reserves 1 GB
# of addresses, which a limit on them, as clusters set, does not grant.
pa.set_memory_pool(pa.system_memory_pool())

SPLITS = ("train", "val", "test")
TRAINING = ("train", "val")  # those that a training reads, and that no dataset lacks
SHA256_BYTES = 32
BLOCK_BYTES = 1 << 22  # of the file, parsed by one thread at a time
ROWS_AT_ONCE = 1 << 16  # written
LONGEST_HEADER = 1 << 20  # bytes
Values: TypeAlias = Sequence | np.ndarray | pa.Array  # of a column: N of them

TEXT = pa.dictionary(pa.int32(), pa.string())  # of few different values
TYPES = {
    "path": pa.binary(),  # as the file system has it, which need not be UTF-8
    "class_name": TEXT,
    "label": pa.int64(),
    "bytes": pa.int64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "mode": TEXT,
    "format": TEXT,
    "sha256": pa.binary(),
    "labels": TEXT,
    "group": TEXT,
    "weight": pa.float64(),
    "offset": pa.int64(),
}


class Manifest:
    """The images of one split, as columns: about 110 bytes an image, which forked processes share.

    A sample id is a row number; rows are sorted by path.

    Attributes:
        path: of the CSV file.
        columns: which columns there are.
        table: all of them but sha256, each in one piece.
        sha256: (N, 32) uint8, of the content of each file.
    """

    def __init__(self, path: Path, columns: Columns, table: pa.Table, sha256: np.ndarray):
        self.path = path
        self.columns = columns
        self.table = table
        self.sha256 = sha256

    def __len__(self) -> int:
        return len(self.table)

    def numbers(self, name: str) -> np.ndarray:
        """(N,) a column of numbers, not to be written to."""
        chunks = self.table.column(name)
        return chunks.chunk(0).to_numpy() if chunks.num_chunks else np.empty(0, chunks.type.to_pandas_dtype())

    def texts(self, name: str) -> "Texts":
        """A column of texts."""
        return Texts(self.table.column(name))

    @property
    def task(self) -> Task:
        return self.columns.task

    @property
    def paths(self) -> "Texts":
        return self.texts("path")

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64, of classes."""
        return self.numbers("label")

    @property
    def pixels(self) -> np.ndarray:
        """(N,) int64."""
        return self.numbers("width").astype(np.int64) * self.numbers("height")

    @cached_property
    def targets(self) -> np.ndarray:
        """(N, K) float64, of a regression."""
        return np.stack([self.numbers(TARGET + name) for name in self.columns.target_names], axis=1)

    @property
    def weights(self) -> np.ndarray | None:
        """(N,) float64, of each image in the training loss."""
        return self.numbers("weight") if self.columns.weights else None

    @property
    def groups(self) -> "Texts | None":
        return self.texts("group") if self.columns.groups else None

    @cached_property
    def loose(self) -> np.ndarray:
        """Sample ids of the images that lie in no tar, ascending."""
        if not self.columns.offsets:
            return np.arange(len(self))
        return np.flatnonzero(self.numbers("offset") < 0)

    def span(self, sample: int) -> tuple[int, int] | None:
        """Where an image is in its tar: offset and size in bytes; None for any other image."""
        if not self.columns.offsets or (offset := self.numbers("offset").item(sample)) < 0:
            return None
        return offset, self.numbers("bytes").item(sample)

    @property
    def rows(self) -> "Rows":
        """Each image as an object, made when it is asked for."""
        return Rows(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @cached_property
    def images_digest(self) -> str:
        """SHA-256 of the file as it would be with the columns that a beton is made from, and no others."""
        if self.columns == FOLDERS:
            return self.digest
        digest = hashlib.sha256()
        for data in _lines(self.columns.of_images, self.table, self.sha256):
            digest.update(data)
        return digest.hexdigest()

    @cached_property
    def storage_order(self) -> np.ndarray:
        """(N,) int64: sample ids in the order in which a beton stores them, which is that of a hash of each path.

        So neighbours in a beton are a random sample of the classes, and an added image does not reorder the others.
        """
        keys = b"".join(hashlib.sha256(b"storage\0" + path).digest() for path in self.table.column("path").to_pylist())
        return np.argsort(np.frombuffer(keys, "S32"), kind="stable").astype(np.int64)


class Texts(Sequence[str]):
    """A column of texts, each decoded when it is asked for. What is no UTF-8 is escaped as Python does for paths."""

    def __init__(self, column: pa.ChunkedArray):
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # a slice of it has no use
        return _text(self._column[int(index)].as_py())

    def __iter__(self) -> Iterator[str]:
        for chunk in self._column.chunks:
            yield from map(_text, chunk.to_pylist())


class Rows(Sequence[Row]):
    """The rows of a manifest, each made when it is asked for: for messages, and where there are few."""

    def __init__(self, manifest: Manifest):
        self._manifest = manifest

    def __len__(self) -> int:
        return len(self._manifest)

    @cached_property
    def _cells(self) -> dict[str, Callable[[int], Any]]:
        """What gives the value of each column in a row: a slice of the table for each would cost 50 times as much."""
        return {name: _cell(self._manifest.table.column(name)) for name in self._manifest.table.column_names}

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # as a Sequence's
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        manifest, place = self._manifest, range(len(self))[index]
        cells = {name: cell(place) for name, cell in self._cells.items()}
        return _row(cells, manifest.sha256[place].tobytes(), manifest.columns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # compared by what is in them


def _cell(column: pa.ChunkedArray) -> Callable[[int], Any]:
    """Gives the value in a row."""
    if column.num_chunks != 1:  # more than fits into one
        return lambda row: column[row].as_py()
    values = column.chunk(0)
    if pa.types.is_dictionary(values.type):
        codes, texts = values.indices.to_numpy(), values.dictionary
        return lambda row: texts[codes.item(row)].as_py()
    if pa.types.is_binary(values.type):
        return lambda row: values[row].as_py()
    return values.to_numpy().item


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def _row(cells: dict, sha256: bytes, columns: Columns) -> Row:
    labels = cells.get("labels")
    return Row(
        path=_text(cells["path"]),
        class_name=cells.get("class_name", ""),
        label=cells.get("label", 0),
        bytes=cells["bytes"],
        width=cells["width"],
        height=cells["height"],
        mode=cells["mode"],
        format=cells["format"],
        sha256=sha256.hex(),
        labels=tuple(labels.split(SEPARATOR)) if labels else (),
        targets=tuple(cells[TARGET + name] for name in columns.target_names),
        group=cells.get("group", ""),
        weight=cells.get("weight", 1.0),
        offset=cells.get("offset", -1),
    )


def is_manifest(path: Path) -> bool:
    """Whether a file begins as a manifest does. Raises OSError: it cannot be read."""
    with path.open("rb") as file:
        return _columns_of(file.readline(LONGEST_HEADER)) is not None


def _columns_of(data: bytes) -> Columns | None:
    """The columns that the first line of a file names; None where it is no manifest of this version."""
    first = data[: data.find(b"\n") + 1].decode("utf-8", "replace")
    return Columns.of_header(next(csv.reader(io.StringIO(first)), []))


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        DatasetError: the file is missing, damaged, cannot be read, or is no manifest of this version.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DatasetError(
            f"Manifest {path} is missing. Run `dvc pull {path}`, or `dvc repro link` to make it from the raw images."
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    columns = _columns_of(data)
    if columns is None:
        raise DatasetError(f"{path} is no manifest of this version. Run `dvc repro -f link`.")
    try:
        table = _parse(data, columns)
        sha256 = from_hexadecimal(table.column("sha256"))
    except (ValueError, pa.ArrowException) as error:
        raise DatasetError(
            f"{path} is damaged ({error}). Run `dvc checkout {path}`, or `dvc repro -f link`."
        ) from error
    table = table.drop_columns(["sha256"]).unify_dictionaries().combine_chunks()
    pa.default_memory_pool().release_unused()  # of the threads that parsed: else it may stay, more than the columns
    return Manifest(path, columns, table, sha256)


def _parse(data: bytes, columns: Columns) -> pa.Table:
    types = {name: TYPES.get(name, pa.float64()) for name in columns.header}
    return arrow_csv.read_csv(
        pa.py_buffer(data),
        arrow_csv.ReadOptions(block_size=BLOCK_BYTES),
        arrow_csv.ParseOptions(newlines_in_values=b'"' in data, ignore_empty_lines=False),
        arrow_csv.ConvertOptions(column_types=types, null_values=[]),
    )


def from_hexadecimal(column: pa.ChunkedArray) -> np.ndarray:
    """(N, 32) uint8. Raises ValueError: a cell is no SHA-256."""
    values = np.empty((len(column), SHA256_BYTES), np.uint8)
    start = 0
    for chunk in column.chunks:
        _, offsets, text = chunk.buffers()
        ends = np.frombuffer(offsets, np.int32, len(chunk) + 1, offset=4 * chunk.offset)
        if np.any(np.diff(ends) != 2 * SHA256_BYTES):
            raise ValueError("a checksum is cut short")
        data = binascii.unhexlify(memoryview(text)[ends[0] : ends[-1]]) if len(chunk) else b""
        values[start : start + len(chunk)] = np.frombuffer(data, np.uint8).reshape(-1, SHA256_BYTES)
        start += len(chunk)
    return values


def digest_starts(sha256: np.ndarray) -> np.ndarray:
    """(N,) uint64, the first bytes of (N, 32) digests: nearly always different where these are."""
    return np.ascontiguousarray(sha256[:, :8]).view("<u8")[:, 0]


def binary(rows: np.ndarray) -> pa.ChunkedArray:
    """(N, ...) of any type as fixed_size_binary, a value a row, without a copy."""
    rows = np.ascontiguousarray(rows)
    kind = pa.binary(rows.dtype.itemsize * rows.shape[1])
    return pa.chunked_array([pa.Array.from_buffers(kind, len(rows), [None, pa.py_buffer(rows)])])


def write_manifest(path: Path, rows: Iterable[Row], columns: Columns = FOLDERS) -> Manifest:
    """Write rows, sorted by path; the same rows give the same bytes."""
    rows = sorted(rows, key=lambda row: path_bytes(row.path))
    cells = zip(*map(columns.values, rows), strict=True) if rows else ((),) * len(columns.header)
    values: dict[str, Values] = dict(zip(columns.header, cells, strict=True))
    values["sha256"] = np.frombuffer(bytes.fromhex("".join(values["sha256"])), np.uint8).reshape(-1, SHA256_BYTES)
    return write_columns(path, values, columns)


def write_columns(path: Path, values: Mapping[str, Values], columns: Columns = FOLDERS) -> Manifest:
    """Write a manifest of N images, sorted by path.

    Args:
        values: by column of the header; those of `sha256` are (N, 32) uint8.
    """
    names = [name for name in columns.header if name != "sha256"]
    arrays = [
        path_array(values[name]) if name == "path" else _array(values[name], TYPES.get(name, pa.float64()))
        for name in names
    ]
    table, sha256 = pa.table(arrays, names), np.asarray(values["sha256"], np.uint8)
    with atomic_write(path) as file:
        for data in _lines(columns.header, table, sha256):
            file.write(data)
    return Manifest(path, columns, table, sha256)


def path_array(paths: Values) -> pa.Array:
    """A column of paths, in bytes."""
    try:
        return pa.array(paths, pa.string()).cast(pa.binary())
    except UnicodeEncodeError:
        return pa.array(list(map(path_bytes, paths)), pa.binary())


def _array(values: Values, kind: pa.DataType) -> pa.Array:
    array = values if isinstance(values, pa.Array) else pa.array(values)
    if pa.types.is_dictionary(kind) and not pa.types.is_dictionary(array.type):
        return array.cast(kind.value_type).dictionary_encode().cast(kind)
    return array.cast(kind)


def _lines(names: Sequence[str], table: pa.Table, sha256: np.ndarray) -> Iterator[bytes]:
    """The header and the rows of some columns as CSV, many rows at a time.

    As Python's csv module writes them, with a line feed at the end of each, and seven times as fast.
    """
    yield path_bytes(csv_text([names]))
    for start in range(0, len(table), ROWS_AT_ONCE):
        part = table.slice(start, ROWS_AT_ONCE).combine_chunks()
        digests = pa.chunked_array([_hexadecimal(sha256[start : start + ROWS_AT_ONCE])])
        cells = [digests if name == "sha256" else _cells(part.column(name)) for name in names]
        cells[-1] = pc.binary_join_element_wise(cells[-1], b"\n", b"")
        (lines,) = pc.binary_join_element_wise(*cells, b",").chunks
        yield lines.buffers()[2].to_pybytes()


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as it is written, in bytes."""
    if pa.types.is_floating(column.type):
        return pa.chunked_array([list(map(repr, column.to_pylist()))], pa.string()).cast(pa.binary())
    if pa.types.is_integer(column.type):
        return column.cast(pa.string()).cast(pa.binary())
    texts = column.cast(pa.string()).cast(pa.binary()) if pa.types.is_dictionary(column.type) else column
    special = pc.match_substring_regex(texts, '[",\r\n]')
    if not pc.any(special).as_py():
        return texts
    quoted = pc.binary_join_element_wise(b'"', pc.replace_substring(texts, '"', '""'), b'"', b"")
    return pc.if_else(special, quoted, texts)


def _hexadecimal(sha256: np.ndarray) -> pa.Array:
    digits = pa.py_buffer(sha256.tobytes().hex().encode())
    return pa.Array.from_buffers(pa.binary(2 * SHA256_BYTES), len(sha256), [None, digits]).cast(pa.binary())


def path_bytes(path: str) -> bytes:
    """A path as the file system has it, which need not be UTF-8."""
    return path.encode("utf-8", "surrogateescape")


def sorted_paths(paths: Iterable[str]) -> list[str]:
    """Sorted by their bytes, as manifests are."""
    found = sorted(paths)  # the same for all that is UTF-8, and three times as fast
    return found if is_text("".join(found)) else sorted(found, key=path_bytes)


def chosen_by_hash(key: bytes, fraction: float) -> bool:
    """True for a `fraction` of all keys, as if at random, and always the same for the same key."""
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") < fraction * 2**64
