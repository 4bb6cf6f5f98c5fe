"""Datasets that are containers of images: Hugging Face datasets on disk, or shards of Parquet. Their other columns are
a table of labels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork import limits
from formwork.datasets.folder_names import IMAGE_EXTENSIONS, extension, split_name
from formwork.datasets.listing import RawFolder
from formwork.datasets.tables.names import KEYS, plain
from formwork.datasets.tables.table import Table, TableFile, check_names, is_plain, one_piece
from formwork.errors import DatasetError
from formwork.images.columnar import EXTENSIONS, ColumnarFile, features, image_column, open_columnar
from formwork.images.containers import row_path
from formwork.images.manifest import SPLITS

DEEPEST = 2  # folders above a container: of a configuration, of a split
SHARD = re.compile(r"(?P<name>.+?)(-\d{5}-of-\d{5})?(-[0-9a-f]{16})?", re.IGNORECASE)
OF = re.compile(r"-\d{5}-of-\d{5}")
KEY = "path"


@dataclass(frozen=True)
class Shard:
    """A container of images.

    Attributes:
        path: relative to the raw dataset.
        split: that its name, or its folder's, says.
    """

    path: str
    split: str | None


def find_shards(folder: RawFolder) -> list[Shard]:
    """The containers of a dataset, sorted; [] where it has none. Beside loose images, those alone whose names say that
    they are shards or splits: a card of the dataset may have pictures.

    Raises:
        DatasetError: one cannot be read, or their folders are several datasets.
    """
    paths, loose = _containers(folder, "", DEEPEST)
    if loose:
        paths = [path for path in paths if OF.search(path) or _split(path)]
    shards = [Shard(path, _split(path)) for path in sorted(paths) if _holds_images(folder, path)]
    by_config: dict[str, str] = {}
    for shard in shards:
        folders = [name for name in shard.path.split("/")[:-1] if not _is_split(name)]
        by_config.setdefault("/".join(folders), shard.path)
    if len(by_config) > 1:
        first, *others = sorted(by_config)
        listed = ", ".join(f'"/{name}/"' for name in others if name)
        raise DatasetError(
            f"{folder.place()} holds several datasets, in {', '.join(folder.place(name) for name in by_config)}. Keep "
            f"one: `-S 'data.ignore=[{listed}]'` keeps {folder.place(first)}."
        )
    return shards


def _containers(folder: RawFolder, place: str, deepest: int) -> tuple[list[str], bool]:
    """The files that may be containers, and whether there are loose images."""
    content = folder.content(place)
    if folder.in_tars(place):
        return [], bool(content.files)  # nothing in a tar is a container
    found = [place + name for name in content.files if name.lower().endswith(EXTENSIONS)]
    loose = any(extension(name) in IMAGE_EXTENSIONS for name in content.files)
    for name in content.folders if deepest and not loose else ():
        inside, images = _containers(folder, f"{place}{name}/", deepest - 1)
        found, loose = found + inside, loose or images
    return found, loose


def _holds_images(folder: RawFolder, path: str) -> bool:
    """Whether a file has a column of images; a table of labels has none."""
    return image_column(_open(folder, path).schema) is not None


def _open(folder: RawFolder, path: str) -> ColumnarFile:
    try:
        return open_columnar(str(folder.raw / path))
    except (OSError, MemoryError) as error:
        raise DatasetError(limits.unreadable(folder.place(path), error, "Write it anew.")) from error


def _split(path: str) -> str | None:
    *folders, name = path.split("/")
    found = SHARD.fullmatch(name.rpartition(".")[0])
    assert found is not None  # any name matches
    for word in (found["name"], *reversed(folders)):
        if _is_split(word):
            named = split_name(word)
            return named.split if named else None
    return None


def _is_split(name: str) -> bool:
    named = split_name(name)
    return named is not None and not named.rest


def read_shard(folder: RawFolder, shard: Shard) -> Table:
    """The other columns of a container, and a column of its images' paths.

    Raises:
        DatasetError: it cannot be read, or names a column twice.
    """
    place, container = folder.place(shard.path), _open(folder, shard.path)
    schema = container.schema
    check_names(place, schema.names)
    names = [field.name for field in schema if is_plain(field.type)]
    try:
        table = container.table(names)
        columns = {name: one_piece(table.column(name)) for name in names}
    except (OSError, MemoryError, pa.ArrowException) as error:
        raise DatasetError(limits.unreadable(place, error, "Write it anew.")) from error
    said = features(schema)
    columns = {name: _named(column, said.get(name, {})) for name, column in columns.items()}
    for name in [name for name in columns if plain(name) in KEYS]:
        del columns[name]  # an id, or the file that an image once was
    columns[KEY] = pa.array(_members(shard, len(container)), pa.string())
    return Table(TableFile(shard.path), place, columns, lambda row: f"{place}, row {row + 1}")


def members(folder: RawFolder, shards: Sequence[Shard]) -> list[str]:
    """Paths of all images of containers.

    Raises:
        DatasetError: one cannot be read.
    """
    return [path for shard in shards for path in _members(shard, len(_open(folder, shard.path)))]


def _members(shard: Shard, rows: int) -> list[str]:
    return [row_path(shard.path, row) for row in range(rows)]


def shard_splits(shards: Sequence[Shard], paths: Sequence[str]) -> np.ndarray | None:
    """(N,) int8 positions in SPLITS of images, by their containers; None where these say none, or all the same."""
    splits = {shard.path: shard.split for shard in shards}
    if None in splits.values() or len(set(splits.values())) < 2:
        return None
    codes = {path: SPLITS.index(split) for path, split in splits.items() if split}
    return np.array([codes[path.rpartition("/")[0]] for path in paths], np.int8)


def _named(column: pa.Array, feature: dict) -> pa.Array:
    """A column whose numbers stand for names, by Hugging Face's metadata, as these names; -1 is none."""
    inner = feature.get("feature") if feature.get("_type") in ("Sequence", "LargeList", "List") else None
    if isinstance(inner, dict) and pa.types.is_list(column.type):
        return pa.ListArray.from_arrays(column.offsets, _named(column.values, inner))
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or not names or not pa.types.is_integer(column.type):
        return column
    known = pc.and_(pc.greater_equal(column, 0), pc.less(column, len(names)))
    return pa.array(names, pa.string()).take(pc.if_else(known, column, None))
