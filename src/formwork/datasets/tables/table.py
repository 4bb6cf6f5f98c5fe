"""A table of labels in memory: columns by name, and where each row stands in its file."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.row import SEPARATOR

NAMED = 1  # tables in a message
MISSING = ("", "nan", "na", "n/a", "null", "none", "-", "?")
"""What people and programs write where they have no number, in lower case."""


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table of labels.

    Attributes:
        path: relative to the raw dataset.
        folder: that its paths are relative to; "" or with a slash at the end.
        split: of all its images; None where the table, or the dataset, says it.
    """

    path: str
    folder: str = ""
    split: str | None = None


@dataclass(frozen=True)
class Table:
    """Attributes:
    file: that it was read from.
    place: the file, as messages name it.
    columns: by name, all of the same length; text, numbers or lists, as the file has them.
    at: where a row stands, for messages: "data/raw/x/labels.csv, line 3".
    notes: how the file was read, where it is not plain UTF-8 with commas.
    decimal_comma: whether a comma may stand in a number, as it separates no cells.
    """

    file: TableFile
    place: str
    columns: dict[str, pa.Array]
    at: Callable[[int], str]
    notes: list[str] = field(default_factory=list)
    decimal_comma: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def error(self, row: int, message: str) -> DatasetError:
        return DatasetError(f"{self.at(row)}: {message}")


def check_names(place: str, names: Iterable[str], line: int | None = None) -> None:
    """Raises DatasetError: two columns have the same name, but for case and spaces around it.

    Args:
        line: of the file that names the columns.
    """
    where = place if line is None else f"{place}, line {line}"
    seen: dict[str, str] = {}
    for name in names:
        key = name.strip().casefold()
        if key and key in seen:
            both = printable(name) if name == seen[key] else f"{printable(seen[key])} and {printable(name)}"
            raise DatasetError(f"{where}: two columns are called {both}. Rename or remove one of them.")
        seen[key] = name


# --- Cells ----------------------------------------------------------------------------------------


def as_text(column: pa.Array) -> pa.Array:
    """A column as strings without spaces around them; "" where there is none.

    Whole numbers are written without a fraction: pandas makes 1.0 of 1 where a column has gaps.
    """
    column = _flat(column)
    if is_list(column):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), SEPARATOR)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(column), None, column)
        if _is_whole(column):
            column = column.cast(pa.int64())
    if not pa.types.is_string(column.type):
        column = column.cast(pa.string())
    return pc.utf8_trim_whitespace(pc.fill_null(column, ""))


def _is_whole(column: pa.Array) -> bool:
    known = column.drop_null().to_numpy(zero_copy_only=False)
    return bool(np.all((np.abs(known) < 2**53) & (np.floor(known) == known)))


def as_numbers(column: pa.Array, decimal_comma: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A column as (N,) float64, NaN where a cell has no number; and (N,) bool, whether it then holds other text."""
    column = _flat(column)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        values = column.cast(pa.float64(), safe=False).fill_null(float("nan")).to_numpy(zero_copy_only=False)
        return values, np.zeros(len(values), bool)
    cells = as_text(column).dictionary_encode()
    texts = cells.dictionary.to_pylist()
    numbers = np.array([_number(text, decimal_comma) for text in texts], np.float64)
    other = np.isnan(numbers) & np.array([text.casefold() not in MISSING for text in texts], bool)
    codes = cells.indices.to_numpy(zero_copy_only=False)
    return numbers[codes], other[codes]


def _number(text: str, decimal_comma: bool) -> float:
    if decimal_comma and "." not in text:
        text = text.replace(",", ".", 1)
    try:
        return float("nan") if "_" in text else float(text)  # Python alone reads 1_000
    except ValueError:
        return float("nan")


def is_plain(kind: pa.DataType) -> bool:
    """Whether a column of this type holds text, numbers or lists of them; no images."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return is_plain(kind.value_type)
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column without chunks."""
    chunks = column.combine_chunks()
    return chunks if isinstance(chunks, pa.Array) else pa.concat_arrays(chunks.chunks)


def is_list(column: pa.Array) -> bool:
    return pa.types.is_list(column.type) or pa.types.is_large_list(column.type)


def _flat(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


# --- Several tables as one ------------------------------------------------------------------------


def joined(tables: Sequence[Table]) -> Table:
    """The rows of tables one below the other; cells of a column that one of them lacks are empty."""
    if len(tables) == 1:
        return tables[0]
    names = dict.fromkeys(name for table in tables for name in table.columns)
    ends = np.cumsum([len(table) for table in tables])

    def at(row: int) -> str:
        place = int(np.searchsorted(ends, row, side="right"))
        return tables[place].at(row - int(ends[place]) + len(tables[place]))

    more = [f"{len(tables) - NAMED} more"] if len(tables) > NAMED else []
    columns = {name: [table.columns.get(name, pa.nulls(len(table))) for table in tables] for name in names}
    return Table(
        tables[0].file,
        " and ".join([*(table.place for table in tables[:NAMED]), *more]),
        {name: _below_each_other(parts) for name, parts in columns.items()},
        at,
        [note for table in tables for note in table.notes],
        any(table.decimal_comma for table in tables),
    )


def _below_each_other(columns: Sequence[pa.Array]) -> pa.Array:
    kinds = {column.type for column in columns} - {pa.null()}
    if len(kinds) > 1 and not any(map(is_list, columns)):
        columns = [as_text(column) for column in columns]
        kinds = {pa.string()}
    kind = kinds.pop() if kinds else pa.null()
    return pa.concat_arrays([column.cast(kind) for column in columns])
