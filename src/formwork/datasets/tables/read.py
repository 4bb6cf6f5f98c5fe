"""Reading a table of labels from its file: CSV, TSV, JSON lines or Parquet."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from formwork import limits
from formwork.datasets.folder_names import extension
from formwork.datasets.listing import RawFolder
from formwork.datasets.tables.delimited import read_delimited, to_utf8
from formwork.datasets.tables.table import Table, TableFile, check_names, is_plain, one_piece
from formwork.errors import DatasetError
from formwork.images.containers import image_source


def read_table(folder: RawFolder, file: TableFile) -> Table:
    """Raises DatasetError: the table cannot be read, or is none; with file and line."""
    place, kind = folder.place(file.path), extension(file.path)
    try:
        source = image_source(folder.raw, file.path)  # a table may lie in a tar
        if kind == ".parquet":
            return _read_parquet(BytesIO(source) if isinstance(source, bytes) else source, file, place)
        data = source if isinstance(source, bytes) else source.read_bytes()
    except (OSError, MemoryError) as error:
        raise DatasetError(limits.unreadable(place, error, "Make it readable, or write it anew.")) from error
    return _read_json_lines(data, file, place) if kind == ".jsonl" else read_delimited(data, file, place)


def _read_parquet(path: Path | BytesIO, file: TableFile, place: str) -> Table:
    """The columns of text, numbers and lists; no others, such as images."""
    try:
        with parquet.ParquetFile(path) as opened:
            schema = opened.schema_arrow
            check_names(place, schema.names)
            names = [field.name for field in schema if is_plain(field.type)]
            table = opened.read(columns=names)
            table.validate(full=True)
    except (pa.ArrowException, ValueError) as error:
        raise DatasetError(f"{place} cannot be read as Parquet: {error}. Write it anew.") from error
    columns = {name: one_piece(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    return Table(file, place, columns, lambda row: f"{place}, row {row + 1}")


def _read_json_lines(data: bytes, file: TableFile, place: str) -> Table:
    """An object a line, whose keys are the columns; an object need not have all of them."""
    data, notes = to_utf8(data, place)
    objects: list[list[tuple[str, Any]]] = []
    lines: list[int] = []
    for number, line in enumerate(data.decode().split("\n"), 1):
        if not line.strip():
            continue
        try:
            pairs = json.loads(line, object_pairs_hook=list)
        except ValueError as error:
            raise DatasetError(f"{place}, line {number} is no JSON: {error}.") from error
        if not isinstance(pairs, list) or any(not isinstance(pair, tuple) for pair in pairs):
            raise DatasetError(f'{place}, line {number} is no JSON object, such as {{"path": "1.png"}}.')
        for name, times in Counter(name for name, _ in pairs).items():
            if times > 1:
                raise DatasetError(f"{place}, line {number} has {name!r} twice. Remove one.")
        objects.append(pairs)
        lines.append(number)
    if not lines:
        raise DatasetError(f'{place} is empty. It should have a line for each image, such as {{"path": "1.png"}}.')
    columns = columns_of(objects)
    check_names(place, columns)
    return Table(file, place, columns, lambda row: f"{place}, line {lines[row]}", notes)


def columns_of(objects: Iterable[Sequence[tuple[str, Any]]]) -> dict[str, pa.Array]:
    """The values of N objects by name, null where an object has none; of two with one name the last counts."""
    values: dict[str, list[Any]] = {}
    number = 0
    for pairs in objects:
        for name, value in pairs:
            column = values.setdefault(name, [])
            column += [None] * (number + 1 - len(column))
            column[number] = value
        number += 1
    return {name: _column(column + [None] * (number - len(column))) for name, column in values.items()}


def _column(values: list[Any]) -> pa.Array:
    """Values of JSON as numbers, text or lists of text; where they are mixed, as text."""
    kinds = {type(value) for value in values} - {type(None)}
    if list in kinds:
        return pa.array([None if value is None else _texts(value) for value in values], pa.list_(pa.string()))
    if kinds <= {int, float}:
        try:
            return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
        except (OverflowError, pa.ArrowInvalid):  # no 64 bits hold it: then it is a name
            pass
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _texts(value: Any) -> list[str]:
    return [_text(item) for item in value] if isinstance(value, list) else [_text(value)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
