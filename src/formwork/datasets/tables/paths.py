"""Which file each row of a table is about: exactly the one it names, or the only one that it can mean."""

import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork.datasets.tables.table import Table
from formwork.escapes import is_text, printable
from formwork.images.manifest import path_bytes
from formwork.text import count

NONE, SEVERAL = -1, -2  # in place of the position of a file
LISTED = 3  # files in a message
ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")


@dataclass(frozen=True)
class Matched:
    """Attributes:
    files: (N,) int64, the position of each row's file; NONE where no file is there.
    notes: how paths were read, where they are not those of the files.
    """

    files: np.ndarray
    notes: list[str] = field(default_factory=list)


def match_files(table: Table, keys: pa.Array, paths: Sequence[str], raw: Path) -> Matched:
    """Find the file of each row.

    A path that is no file's is read as people and other systems may have meant it, a step more freely each time; at
    each step it must fit one file alone.

    Args:
        keys: (N,) text, the cells that name files, as they stand in the table.
        paths: of the files, relative to the raw dataset `raw`.

    Raises:
        DatasetError: a row names a place outside the dataset, or a path that fits several files.
    """
    base = table.file.folder
    inside = np.array([path.startswith(base) for path in paths], bool) if base else np.ones(len(paths), bool)
    owners = np.flatnonzero(inside)
    below = [path[len(base) :] for path in paths if path.startswith(base)] if base else paths
    found = pc.index_in(keys.cast(pa.binary()), pa.array(map(path_bytes, below), pa.binary(), size=len(below)))
    places = found.fill_null(NONE).to_numpy(zero_copy_only=False).astype(np.int64)
    notes = []
    left = np.flatnonzero(places == NONE)
    if len(left):
        wanted = _cleaned(table, keys.take(pa.array(left)), left, raw)
        for reading, texts, of_file, spell in _readings(_texts(below)):
            fits = _only_fit(spell(wanted), texts, of_file)
            if (several := np.flatnonzero(fits == SEVERAL)).size:
                row = int(left[several[0]])
                same = pc.equal(texts, spell(wanted)[several[0]]).to_numpy(zero_copy_only=False)
                listed = [printable(below[place]) for place in np.unique(of_file[same])[:LISTED]]
                raise table.error(row, f"{_shown(keys, row)} may be any of {', '.join(listed)}. Write the whole path.")
            hit = fits != NONE
            if hit.any():
                places[left[hit]] = fits[hit]
                row = int(left[hit][0])
                notes.append(
                    f"{table.at(row)}: {_shown(keys, row)} is taken for {printable(below[places[row]])}, {reading}; "
                    f"so in {count(int(hit.sum()), 'row')}."
                )
                left, wanted = left[~hit], wanted.filter(pa.array(~hit))
            if not len(left):
                break
    files = np.where(places == NONE, NONE, owners[places] if len(owners) else NONE)
    return Matched(files, notes)


def _shown(keys: pa.Array, row: int) -> str:
    return printable(keys[row].as_py())


def _cleaned(table: Table, keys: pa.Array, rows: np.ndarray, raw: Path) -> pa.Array:
    """Paths with forward slashes, relative to the table's folder; `rows`: the rows of these keys."""
    texts = pc.replace_substring(pc.utf8_trim_whitespace(keys), "\\", "/")
    texts = pc.replace_substring_regex(texts, "/(\\./|/)*", "/")
    texts = pc.replace_substring_regex(texts, "^(\\./)+", "")
    texts = _changed(texts, r"(^|/)\.\.(/|$)", lambda place, path: posixpath.normpath(path))
    base = table.file.folder
    for prefix in dict.fromkeys(
        [*(f"{place}/{base}" for place in (raw.absolute(), raw.resolve(), raw, raw.name)), base]
    ):
        below = pc.starts_with(texts, prefix)
        if prefix and pc.any(below).as_py():
            texts = pc.if_else(below, pc.utf8_slice_codeunits(texts, len(prefix)), texts)

    def refuse(place: int, path: str) -> str:
        shown = printable(keys[place].as_py())
        if path.startswith(".."):
            message = f"{shown} leaves the dataset. Move that file into {raw}, and write its path there."
        else:
            message = f"{shown} is a place outside {raw}. Write paths relative to the folder of the table."
        raise table.error(int(rows[place]), message)

    return _changed(texts, r"^(/|[A-Za-z]:|[a-z]+:/|\.\.(/|$))", refuse)


def _changed(texts: pa.Array, pattern: str, change: Callable[[int, str], str]) -> pa.Array:
    """The texts, those that match replaced by what becomes of their position and themselves."""
    odd = np.flatnonzero(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False))
    if not len(odd):
        return texts
    changed = texts.to_pylist()
    for place in odd.tolist():
        changed[place] = change(place, changed[place])
    return pa.array(changed, pa.string())


def _texts(paths: Sequence[str]) -> pa.Array:
    """Paths as text; those that are no UTF-8 as Windows wrote them before it."""
    try:
        return pa.array(paths, pa.string(), size=len(paths))
    except UnicodeEncodeError:
        return pa.array(
            [path if is_text(path) else path_bytes(path).decode("cp1252", "replace") for path in paths], pa.string()
        )


Reading = tuple[str, pa.Array, np.ndarray, Callable[[pa.Array], pa.Array]]
"""In words; what files are called then, and which file that is; and what a row's path becomes."""


def _readings(texts: pa.Array) -> Iterator[Reading]:
    """Ways to read a path, the surest first."""
    every = np.arange(len(texts))
    yield "but for slashes, spaces and the folder of the dataset", texts, every, lambda wanted: wanted
    folded = _folded(texts)
    yield "but for case or the form of Unicode", folded, every, _folded
    tails, owners = _tails(folded)
    yield "the only file of that name, in another folder", tails, owners, _folded
    stems = pc.replace_substring_regex(pa.concat_arrays([folded, tails]), r"\.[^./]*$", "")
    both = np.concatenate([every, owners])
    yield "the only file of that name but for its extension", stems, both, _folded
    yield "with its escapes read", pa.concat_arrays([folded, tails]), both, lambda wanted: _folded(_unescaped(wanted))


def _folded(texts: pa.Array) -> pa.Array:
    return pc.utf8_lower(pc.utf8_normalize(texts, "NFC"))


def _unescaped(texts: pa.Array) -> pa.Array:
    return pa.array([unquote(text) if ESCAPED.search(text) else text for text in texts.to_pylist()], pa.string())


def _tails(texts: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Paths without their first folder, without their first two, and so on; and whose each is."""
    owners = np.arange(len(texts))
    tails, of_tail = [], []
    while len(texts := texts.filter(deeper := pc.match_substring(texts, "/"))):
        owners = owners[deeper.to_numpy(zero_copy_only=False)]
        texts = pc.replace_substring_regex(texts, "^[^/]*/", "")
        tails.append(texts)
        of_tail.append(owners)
    return pa.concat_arrays(tails) if tails else texts, np.concatenate(of_tail) if of_tail else owners[:0]


def _only_fit(wanted: pa.Array, texts: pa.Array, owners: np.ndarray) -> np.ndarray:
    """(N,) the owner of the text that each wanted one equals; NONE, or SEVERAL where they have different owners."""
    encoded = texts.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    owner_of = np.full(len(encoded.dictionary) + 1, NONE, np.int64)  # the last: of no text
    owner_of[codes[::-1]] = owners[::-1]
    owner_of[codes[owner_of[codes] != owners]] = SEVERAL
    places = pc.index_in(wanted, encoded.dictionary).fill_null(len(encoded.dictionary))
    return owner_of[places.to_numpy(zero_copy_only=False)]
