"""The cells of a table as classes, sets of labels, numbers, splits and weights."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork.datasets.folder_names import split_name
from formwork.datasets.tables.rows import BAD_TARGET, BAD_WEIGHT, NO_LABEL, UNKNOWN_SPLIT, Rows
from formwork.datasets.tables.table import as_numbers, as_text, is_list
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.manifest import SPLITS
from formwork.images.row import SEPARATOR

SEPARATORS = (SEPARATOR, "|", ",")  # between labels; the first one that any cell has
WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
JOIN = "\0"  # between labels from lists, in memory alone
LISTED = 5
LARGEST = float(np.finfo(np.float32).max)  # of a number that a model can be trained with

LabelSets = list[tuple[str, ...]]
"""Different sets of labels, each sorted."""


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted; by number, where all are whole numbers."""
    names = list(names)
    if names and all(map(WHOLE.fullmatch, names)):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


# --- Labels ---------------------------------------------------------------------------------------


def classes(rows: Rows, column: str) -> tuple[list[str], np.ndarray]:
    """The classes in order, and (N,) int64 positions in them.

    Raises:
        DatasetError: two classes are easily confused.
    """
    cells = _whole(_without_nan(as_text(rows.table.columns[column]))).dictionary_encode()
    texts, codes = cells.dictionary.to_pylist(), cells.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if "" in texts:
        for row in rows.usable(codes == texts.index("")).tolist():
            rows.refuse(row, NO_LABEL, f"{printable(column)} is empty")
    used = [texts[code] for code in np.unique(codes[~rows.bad])]
    names = in_order(used)
    positions = {name: place for place, name in enumerate(names)}
    labels = np.array([positions.get(text, 0) for text in texts], np.int64)[codes]
    _check_alike(rows, names, lambda name: np.flatnonzero((labels == positions[name]) & ~rows.bad))
    return names, labels


def label_sets(rows: Rows, column: str) -> tuple[LabelSets, np.ndarray, list[str]]:
    """The different sets of labels, (N,) int64 positions in them, and notes.

    Raises:
        DatasetError: two labels are easily confused, or one holds the character that separates labels in manifests.
    """
    values, notes = rows.table.columns[column], []
    if is_list(values):
        texts = pc.binary_join(values.cast(pa.list_(pa.string())), JOIN)
    else:
        texts = _without_nan(as_text(values))
    cells = pc.fill_null(texts, "").dictionary_encode()
    different, codes = cells.dictionary.to_pylist(), cells.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    between = JOIN
    if not is_list(values):
        plain = [text for text in different if not text.startswith("[")]
        between = next((mark for mark in SEPARATORS if any(mark in text for text in plain)), SEPARATOR)
        if between != SEPARATOR:
            notes.append(f"{rows.table.place}: the labels in {printable(column)} are separated by {between!r}.")
    sets = [_labels(rows, text, between, codes == code) for code, text in enumerate(different)]
    names = {name for labels in sets for name in labels}

    def having(name: str) -> np.ndarray:
        return np.flatnonzero(np.array([name in labels for labels in sets])[codes] & ~rows.bad)

    _check_alike(rows, in_order(names), having)
    return sets, codes, notes


def _labels(rows: Rows, text: str, between: str, having: np.ndarray) -> tuple[str, ...]:
    """The labels of a cell, which may be a list as JSON or Python writes it; `having`: (N,) bool, rows with it."""
    names = text.split(between)
    if between != JOIN and text.startswith("["):
        try:
            found = json.loads(text if '"' in text else text.replace("'", '"'))
        except ValueError as error:
            raise rows.table.error(
                int(np.argmax(having)), f'{printable(text)} is no JSON list of labels, such as ["cat", "dog"].'
            ) from error
        names = [item if isinstance(item, str) else json.dumps(item) for item in found]
    labels = sorted({name.strip() for name in names} - {""})
    for name in labels:
        if SEPARATOR in name:
            raise rows.table.error(
                int(np.argmax(having)),
                f"the label {printable(name)} holds a {SEPARATOR}, which separates labels. Rename it.",
            )
    return tuple(labels)


def _without_nan(texts: pa.Array) -> pa.Array:
    """What pandas writes where there is nothing is nothing."""
    return pc.if_else(pc.equal(pc.utf8_lower(texts), "nan"), "", texts)


def _whole(texts: pa.Array) -> pa.Array:
    """Numbers such as 1.0 as 1, where there are no others: so pandas writes integers once there is a gap."""
    fits = pc.match_substring_regex(texts, r"^([+-]?[0-9]+\.0+)?$")
    return pc.replace_substring_regex(texts, r"\.0+$", "") if pc.all(fits).as_py() else texts


def _check_alike(rows: Rows, names: Sequence[str], having: Callable[[str], np.ndarray]) -> None:
    """Raises DatasetError: names differ in case, spaces, the form of Unicode or leading zeros alone."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(_at_sight(name), name)
        if other is not name:
            both = [(having(spelling), spelling) for spelling in (other, name)]
            (few, rare), (many, frequent) = sorted(both, key=lambda pair: len(pair[0]))
            raise DatasetError(
                f"{rows.table.at(int(few[0]))}: the label {rare!a} looks like {frequent!a} in "
                f"{rows.table.at(int(many[0]))}. Write both the same way ({len(few)} and {len(many)} rows have them), "
                "or give one another name."
            )


def _at_sight(name: str) -> str:
    if WHOLE.fullmatch(name):
        return str(int(name))
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


# --- Numbers --------------------------------------------------------------------------------------


def targets(rows: Rows, columns: Sequence[str]) -> np.ndarray:
    """(N, K) float64, within float32 in rows that can be used."""
    table = rows.table
    found = np.stack([as_numbers(table.columns[column], table.decimal_comma)[0] for column in columns], axis=1)
    good = np.abs(found) <= LARGEST  # NaN is not
    for row in rows.usable(~good.all(axis=1)).tolist():
        wrong = np.asarray(columns)[~good[row]]
        rows.refuse(row, BAD_TARGET, ", ".join(_not_a_number(rows, str(column), row) for column in wrong))
    return found


def weights(rows: Rows, column: str) -> np.ndarray:
    """(N,) float64, from 0 up and within float32 in rows that can be used."""
    found, _ = as_numbers(rows.table.columns[column], rows.table.decimal_comma)
    for row in rows.usable(~((found >= 0) & (found <= LARGEST))).tolist():
        negative = f"{printable(column)} is {found[row]:g}, below 0"
        rows.refuse(row, BAD_WEIGHT, negative if found[row] < 0 else _not_a_number(rows, column, row))
    return found


def _not_a_number(rows: Rows, column: str, row: int) -> str:
    cell = rows.table.columns[column][row].as_py()
    return f"{printable(column)} is {'empty' if cell in (None, '') else printable(cell)}, no number to use"


def groups(rows: Rows, column: str) -> pa.Array:
    """(N,) text; "" for none."""
    return _without_nan(as_text(rows.table.columns[column]))


# --- Splits ---------------------------------------------------------------------------------------


def splits(rows: Rows, column: str) -> np.ndarray | None:
    """(N,) int8 positions in SPLITS; None where no row says any, or all are in train.

    Raises:
        DatasetError: no row names a split that is known.
    """
    cells = as_text(rows.table.columns[column]).dictionary_encode()
    texts, codes = cells.dictionary.to_pylist(), cells.indices.to_numpy(zero_copy_only=False)
    known = np.array([_split_of(text) for text in texts], np.int8)
    if not any(texts):
        return None
    if not (known >= 0).any():
        listed = ", ".join(map(printable, texts[:LISTED]))
        raise DatasetError(
            f"{rows.table.at(0)}: {printable(column)} names no split; it has {listed}. Write {', '.join(SPLITS)}, or "
            "give the column another name if it says something else."
        )
    found = known[codes]
    if set(found[~rows.bad].tolist()) == {SPLITS.index("train")}:  # then data.split takes val out of them
        return None
    for row in rows.usable(found < 0).tolist():
        text = printable(texts[codes[row]])
        rows.refuse(row, UNKNOWN_SPLIT, f"{printable(column)} is {text or 'empty'}, and not {', '.join(SPLITS)}")
    return found


def _split_of(text: str) -> int:
    named = split_name(text)
    return SPLITS.index(named.split) if named is not None and not named.rest else -1
