"""The file in git that says the split of each image: data/splits/<name>.csv, with columns `path`, `split`, `sha256`.

With `sha256`, an image is found by its content wherever it lies, and by its path where its content is new.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork import limits
from formwork.datasets.folder_names import split_name
from formwork.datasets.splits import FREE
from formwork.datasets.tables.delimited import read_delimited
from formwork.datasets.tables.paths import NONE, match_files
from formwork.datasets.tables.table import Table, TableFile, as_text
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.manifest import SPLITS, path_bytes
from formwork.text import count

HEADER = ("path", "split", "sha256")
DIGEST = re.compile("[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class SplitFile:
    """Attributes:
    table: as it stands in the file.
    paths: (M,) text.
    splits: (M,) int8, positions in SPLITS.
    digests: (M,) 32 bytes each, null where the file says none; None without the column.
    """

    table: Table
    paths: pa.Array
    splits: np.ndarray
    digests: pa.Array | None


def read_split_file(path: Path) -> SplitFile | None:
    """The file; None where there is none.

    Raises:
        DatasetError: it cannot be read, or is no such file; with the line.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except (OSError, MemoryError) as error:
        raise DatasetError(limits.unreadable(str(path), error, "Make it readable, or remove it.")) from error
    table = read_delimited(data, TableFile(path.name), str(path))
    columns = {name.strip().casefold(): column for name, column in table.columns.items()}
    for name in HEADER[:2]:
        if name not in columns:
            raise DatasetError(
                f"{path} has no column {name!r}; it has {', '.join(map(printable, table.columns))}. Its first line "
                "must be `path,split` or `path,split,sha256`."
            )
    paths = columns["path"]
    _check_paths(table, paths)
    digests = None if "sha256" not in columns else _digests(table, as_text(columns["sha256"]))
    return SplitFile(table, paths, _splits(table, as_text(columns["split"])), digests)


def _check_paths(table: Table, paths: pa.Array) -> None:
    codes = paths.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    first = np.unique(codes, return_index=True)[1]
    if len(first) < len(codes):
        row = int(np.setdiff1d(np.arange(len(codes)), first)[0])
        before = int(first[codes[row]])
        raise table.error(
            row, f"{printable(paths[row].as_py())} is listed twice: it stands in {table.at(before)}, too. Remove one."
        )
    if (empty := np.flatnonzero(pc.equal(paths, "").to_numpy(zero_copy_only=False))).size:
        raise table.error(int(empty[0]), "the path is empty. Write one, or remove the line.")


def _splits(table: Table, column: pa.Array) -> np.ndarray:
    cells = column.dictionary_encode()
    words, codes = cells.dictionary.to_pylist(), cells.indices.to_numpy(zero_copy_only=False)
    named = [split_name(word) for word in words]
    known = [FREE if name is None or name.rest else SPLITS.index(name.split) for name in named]
    found = np.array(known, np.int8)[codes] if words else np.empty(0, np.int8)
    if (unknown := np.flatnonzero(found == FREE)).size:
        word = words[codes[unknown[0]]]
        raise table.error(
            int(unknown[0]), f"the split is {printable(word) if word else 'empty'}. Write {', '.join(SPLITS)}."
        )
    return found


def _digests(table: Table, column: pa.Array) -> pa.Array:
    texts = column.to_pylist()
    wrong = next((row for row, text in enumerate(texts) if text and not DIGEST.fullmatch(text)), None)
    if wrong is not None:
        raise table.error(
            wrong, f"sha256 is {printable(texts[wrong])}, and not 64 hexadecimal digits. Mend it, or leave it empty."
        )
    return pa.array([bytes.fromhex(text) if text else None for text in texts], pa.binary())


def splits_of(file: SplitFile, raw: Path, paths: Sequence[str], sha256: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(N,) int8, the split that a file gives to each of N images, FREE where it does not name it; and notes.

    Args:
        raw: the dataset. paths: of the images in it. sha256: (N, 32) uint8.
    """
    found = np.full(len(paths), FREE, np.int8)
    if file.digests is None:
        matched = match_files(file.table, file.paths, paths, raw)
        rows = np.flatnonzero(matched.files != NONE)
        _check_images(file, paths, matched.files, rows)
        found[matched.files[rows]] = file.splits[rows]
        used, notes = matched.files != NONE, [*file.table.notes, *matched.notes]
    else:
        images = pa.array(map(path_bytes, paths), pa.binary(), size=len(paths))
        row_of_image = _places(pc.index_in(images, file.paths.cast(pa.binary())))
        contents = pa.array(map(bytes, sha256), pa.binary(), size=len(paths))
        named = row_of_image != FREE
        found[named] = file.splits[row_of_image[named]]
        # Where the path has another content in the file, or is not there, the content says more.
        listed = file.digests.take(pa.array(np.maximum(row_of_image, 0))) if len(file.splits) else contents
        same = pc.fill_null(pc.equal(listed, contents), False).to_numpy(zero_copy_only=False) & named
        different = file.digests.drop_null().dictionary_encode().dictionary
        of_content = np.full(len(different) + 1, FREE, np.int8)
        of_row = _places(pc.index_in(file.digests, different))
        np.maximum.at(of_content, of_row, file.splits)  # of copies in several splits, test before val before train
        of_content[-1] = FREE  # of rows without one
        by_content = of_content[_places(pc.index_in(contents, different))]
        elsewhere = ~same & (by_content != FREE)
        found[elsewhere] = by_content[elsewhere]
        used = np.isin(np.arange(len(file.splits)), row_of_image[named])
        used |= pc.is_in(file.digests, contents, skip_nulls=True).to_numpy(zero_copy_only=False)
        notes = list(file.table.notes)
    if not used.all():
        row = int(np.flatnonzero(~used)[0])
        rows_ = count(int((~used).sum()), "line")
        notes.append(
            f"{file.table.place}: {rows_} of images that are not used or not there, such as "
            f"{printable(file.paths[row].as_py())} ({file.table.at(row).rpartition(', ')[2]})."
        )
    return found, notes


def _places(indices: pa.Array) -> np.ndarray:
    return indices.fill_null(FREE).to_numpy(zero_copy_only=False).astype(np.int64)


def _check_images(file: SplitFile, paths: Sequence[str], files: np.ndarray, rows: np.ndarray) -> None:
    """Raises DatasetError: two lines mean the same image, written differently."""
    first = rows[np.unique(files[rows], return_index=True)[1]]
    if len(first) < len(rows):
        row = int(np.setdiff1d(rows, first)[0])
        before = int(first[np.flatnonzero(files[first] == files[row])[0]])
        raise file.table.error(
            row, f"this is {printable(paths[files[row]])}, as is {file.table.at(before)}. Remove one of both."
        )
