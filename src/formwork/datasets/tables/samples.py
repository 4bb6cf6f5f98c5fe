"""WebDataset's tars as tables: each image `key.jpg` is a row, and `key.cls` and `key.json` beside it are its cells."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa

from formwork import limits
from formwork.datasets.folder_names import IMAGE_EXTENSIONS, extension
from formwork.datasets.listing import RawFolder
from formwork.datasets.tables.names import KEYS, ROLES, plain
from formwork.datasets.tables.read import columns_of
from formwork.datasets.tables.table import Table, TableFile, check_names
from formwork.datasets.tar_folders import LABEL, Tar, key_of
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.containers import read_image
from formwork.text import count

PATH, CLASS = "path", "label"  # columns
NO_IMAGE = ".*"  # after the key of a row that has no image, in place of its extension


def read_samples(folder: RawFolder, tars: Sequence[Tar], paths: Iterable[str]) -> list[Table]:
    """A table of each tar.

    Args:
        paths: of all files that may be images, in these tars and elsewhere.

    Raises:
        DatasetError: two images have the same key, or what stands beside an image cannot be read.
    """
    prefixes = {f"{tar.path}/": tar for tar in tars}
    images: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
    for path in paths:
        if extension(path) in IMAGE_EXTENSIONS:
            end = path.lower().rfind(".tar/") + len(".tar/")
            if path[:end] in images:
                images[path[:end]].append(path[end:])
    return [_read(folder, tar, images[prefix]) for prefix, tar in prefixes.items()]


def _read(folder: RawFolder, tar: Tar, images: Sequence[str]) -> Table:
    place = folder.place(tar.path)
    cells: dict[str, list[tuple[str, Any]]] = {name: [] for name in images}
    named: dict[str, str] = {}  # the file that names a row in messages
    by_stem, by_key = _grouped(images, _stem), _grouped(images, key_of)
    has_labels = any(name.endswith(LABEL) for name in tar.sidecars)
    unlisted: dict[str, list[str]] | None = None
    for name in tar.sidecars:
        found = by_stem.get(_stem(name)) or by_key.get(key_of(name), [])
        if len(found) > 1:
            alike = sum(len(others) > 1 for others in by_key.values())
            both = " and ".join(map(printable, found[:2]))
            raise DatasetError(
                f"{place}: {both} have the same key, {printable(key_of(name))}, and so have the images of "
                f"{count(alike, 'sample')} in all: nothing says which one a label is about. Leave out the others with "
                f'data.ignore in params.yaml, such as "*{printable(_ending(found[1]))}".'
            )
        if not found:
            if unlisted is None:
                unlisted = _grouped((one for one in tar.index.names if extension(one) in IMAGE_EXTENSIONS), key_of)
            if key_of(name) in unlisted:
                continue  # data.ignore leaves out its image
            found = [key_of(name) + NO_IMAGE]
            cells.setdefault(found[0], [])
        data = _content(folder, tar, name)
        named[found[0]] = name
        if name.endswith(LABEL):
            cells[found[0]].append((CLASS, _text(data, f"{place}/{printable(name)}").strip()))
        else:
            cells[found[0]] += _facts(data, f"{place}/{printable(name)}", has_labels)
    columns = {PATH: pa.array([f"{tar.path}/{name}" for name in cells], pa.string()), **columns_of(cells.values())}
    if has_labels:
        columns.setdefault(CLASS, pa.nulls(len(cells), pa.string()))
    check_names(place, columns)
    files = [named.get(name, name) for name in cells]
    return Table(TableFile(tar.path), place, columns, lambda row: f"{place}/{printable(files[row])}")


def _facts(data: bytes, place: str, has_labels: bool) -> list[tuple[str, Any]]:
    """The pairs of a JSON object, but for what names the image, and for labels where a file of their own has them."""
    try:
        pairs = json.loads(_text(data, place), object_pairs_hook=list)
    except ValueError as error:
        raise DatasetError(f"{place} is no JSON: {error}.") from error
    if not isinstance(pairs, list) or any(not isinstance(pair, tuple) for pair in pairs):
        raise DatasetError(f'{place} is no JSON object, such as {{"label": "cat"}}.')
    taken = {*KEYS, *(ROLES["label"] + ROLES["labels"] if has_labels else ())}
    return [(name, value) for name, value in pairs if plain(name) not in taken]


def _content(folder: RawFolder, tar: Tar, name: str) -> bytes:
    try:
        return read_image(folder.raw, f"{tar.path}/{name}", tar.index.span(name))
    except (OSError, MemoryError) as error:
        place = f"{folder.place(tar.path)}/{printable(name)}"
        raise DatasetError(limits.unreadable(place, error, "Pack the tar anew.")) from error


def _text(data: bytes, place: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{place} is no UTF-8. Pack the tar anew with its text in UTF-8.") from error


def _grouped(names: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return groups


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _ending(name: str) -> str:
    """All from the first dot of a file's name."""
    return name[len(key_of(name)) :]
