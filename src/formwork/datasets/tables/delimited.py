"""Tables as text with separators: .csv and .tsv in the encodings and dialects that spreadsheets and programs write."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Sequence
from functools import cache, partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from formwork.datasets.tables.names import KEYS, plain
from formwork.datasets.tables.table import Table, TableFile, check_names, one_piece
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.text import clip, count

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
MARKS = (  # byte order marks, the longer first
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
SAMPLE = 1 << 12  # bytes that show an encoding without a mark
LARGEST_CELL = 1 << 24  # characters
BLOCK_BYTES = 1 << 22  # parsed by one thread at a time
LONGEST_HEADER = 1 << 20  # bytes


def read_delimited(data: bytes, file: TableFile, place: str) -> Table:
    """A table whose first line names its columns. All of its cells are text, as they stand there.

    Raises:
        DatasetError: it is empty, is no text, names a column twice, or a line has another number of cells.
    """
    data, notes = to_utf8(data, place)
    start, separator = _declared(data)
    above, data = data.count(b"\n", 0, start), data[start:]
    if not data.strip():
        raise DatasetError(f"{place} is empty. Its first line must name the columns, as in `path,label`.")
    separator = separator or _separator(data)
    names = _first_record(data, separator)
    if separator != ",":
        notes.append(f"{place} is read with {SEPARATORS.get(separator, repr(separator))} as separators.")
    check_names(place, names, line=above + 1)
    try:
        table = _parse(data, names, separator)
    except pa.ArrowInvalid as error:
        raise _fault(data, place, separator, len(names), above) from error
    columns = {name: one_piece(table.column(index)) for index, name in enumerate(names) if name.strip()}
    blank = _blank([one_piece(column) for column in table.columns], len(table))
    record = np.flatnonzero(~blank)
    if blank.any():
        columns = {name: column.take(pa.array(record)) for name, column in columns.items()}
    lines = cache(partial(_lines, data, separator, above))

    def at(row: int) -> str:
        number = int(record[row])  # stray quotes are read in one way by Arrow, and in another by Python
        return f"{place}, line {lines()[number]}" if number < len(lines()) else f"{place}, row {number + 1}"

    return Table(file, place, columns, at, notes, separator != ",")


def to_utf8(data: bytes, place: str) -> tuple[bytes, list[str]]:
    """Text in UTF-8 without a byte order mark, and notes on how it was read.

    Raises:
        DatasetError: it is no text.
    """
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), None) or _without_mark(data)
    mark = next((len(mark) for mark, _ in MARKS if data.startswith(mark)), 0)
    notes: list[str] = []
    try:
        if encoding == "utf-8":
            data[mark:].decode()
            data = data[mark:]
        else:
            data = data[mark:].decode(encoding).encode()
            notes.append(f"{place} is read as {encoding[:6].upper()}.")
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or mark:
            raise DatasetError(f"{place} is damaged: it is not all {encoding.upper()}. Save it as UTF-8.") from error
        line = data.count(b"\n", 0, error.start) + 1
        text, encoding = _of_windows(data)
        data = text.encode()
        notes.append(f"{place} is no UTF-8 (line {line}), and is read as {encoding}.")
    if (zero := data.find(b"\0")) >= 0:
        line = data.count(b"\n", 0, zero) + 1
        raise DatasetError(f"{place}, line {line}: a zero byte, so this is no text. Save it as CSV in UTF-8.")
    return data, notes


def _without_mark(data: bytes) -> str:
    """UTF-16 without a byte order mark has a zero byte in nearly every other place."""
    sample = np.frombuffer(data[: min(SAMPLE, len(data) // 2 * 2)], np.uint8).reshape(-1, 2)
    if len(sample):
        first, second = (sample == 0).mean(axis=0)
        if second > 0.4 and first < 0.1:
            return "utf-16-le"
        if first > 0.4 and second < 0.1:
            return "utf-16-be"
    return "utf-8"


def _of_windows(data: bytes) -> tuple[str, str]:
    try:
        return data.decode("cp1252"), "Windows-1252"
    except UnicodeDecodeError:  # it leaves five bytes undefined
        return data.decode("latin-1"), "Latin-1"


def _declared(data: bytes) -> tuple[int, str | None]:
    """Where the table begins, and its separator as Excel states it in a line `sep=;` above it."""
    found = re.match(rb"(?:\s*\r?\n)*(?:sep=(.)\r?\n)?", data, re.IGNORECASE)
    assert found is not None  # it may match nothing
    return found.end(), found[1].decode() if found[1] else None


def _separator(data: bytes) -> str:
    """The one with which the first line names a column of paths; else the one that cuts it into most cells."""

    def fit(separator: str) -> tuple[bool, int]:
        names = _first_record(data, separator)
        return any(plain(name) in KEYS for name in names), len(names)

    return max(SEPARATORS, key=fit)


def _first_record(data: bytes, separator: str) -> list[str]:
    """The cells of the first line, which is not blank."""
    return [" ".join(name.split()) for name in next(_records(data[:LONGEST_HEADER], separator))[1]]


def _records(data: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Every record that is not blank, with the line where it begins, from 1."""
    csv.field_size_limit(LARGEST_CELL)
    reader = csv.reader(io.StringIO(data.decode("utf-8", "ignore"), newline=""), delimiter=separator)
    line = 1
    for cells in reader:
        if cells:
            yield line, cells
        line = reader.line_num + 1


def _parse(data: bytes, names: Sequence[str], separator: str) -> pa.Table:
    return arrow_csv.read_csv(
        pa.py_buffer(data),
        arrow_csv.ReadOptions(
            column_names=names, skip_rows_after_names=1, block_size=max(len(data), 1) if b'"' in data else 1 << 22
        ),
        arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=b'"' in data),
        arrow_csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False),
    )


def _blank(columns: Sequence[pa.Array], rows: int) -> np.ndarray:
    """(N,) bool: whether all cells of a row are empty, as spreadsheets leave rows at the end."""
    blank = np.ones(rows, bool)
    for column in columns:
        if not blank.any():
            break
        blank &= pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0).to_numpy(zero_copy_only=False)
    return blank


def _lines(data: bytes, separator: str, above: int) -> list[int]:
    """The line of each record after the header; `above`: lines of the file before the data."""
    return [line + above for line, _ in _records(data, separator)][1:]


def _fault(data: bytes, place: str, separator: str, cells: int, above: int) -> DatasetError:
    """What stands in the way of reading a table, with its line."""
    for line, found in _records(data, separator):
        if len(found) != cells:
            shown = printable(separator.join(found))
            return DatasetError(
                f"{place}, line {line + above} has {count(len(found), 'cell')}, and the first line has {cells}: "
                f"{clip(shown, 80)}. Put a cell that holds a separator into double quotes, and close each quote."
            )
    return DatasetError(f"{place} cannot be read as a table: a quote may never be closed.")
