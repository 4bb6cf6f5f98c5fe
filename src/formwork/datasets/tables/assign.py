"""From the table of labels in a raw dataset to what it says of each file."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from formwork.datasets.folder_names import IMAGE_EXTENSIONS, extension, split_name
from formwork.datasets.layout import descend, find_layout
from formwork.datasets.listing import NO_ROW, OTHER, RawFolder
from formwork.datasets.tables.columns import Roles, Source, find_roles, find_source, set_columns
from formwork.datasets.tables.containers import Shard, find_shards, members, read_shard, shard_splits
from formwork.datasets.tables.find import find_tables, leave_out
from formwork.datasets.tables.labels import Labels, read_labels
from formwork.datasets.tables.paths import NONE, match_files
from formwork.datasets.tables.read import read_table
from formwork.datasets.tables.rows import NO_FILE, RowFinding, Rows
from formwork.datasets.tables.samples import NO_IMAGE, read_samples
from formwork.datasets.tables.table import Table, as_text, joined
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.manifest import SPLITS
from formwork.text import count


@dataclass(frozen=True)
class TableParams:
    """What params.yaml says of a dataset's table.

    Attributes:
        dataset: its name.
        task: "auto", or what to predict.
        columns: names of columns by role.
        group: data.split.group, which may name a column.
    """

    dataset: str = ""
    task: str = "auto"
    columns: Mapping[str, str | list[str]] = field(default_factory=dict)
    group: str | None = None


@dataclass(frozen=True)
class LabelTable:
    """The table of a dataset, or those of its splits.

    Attributes:
        tables: as they are in files, one after the other.
        table: their rows together.
        source: what is to be predicted; without columns, the folders are classes.
        shards: the containers that the images lie in, if they do. Their own columns are the table, where there is no
            other.
        members: paths of all files that may be images, where they were listed with the table.
    """

    tables: list[Table]
    table: Table
    roles: Roles
    source: Source
    shards: list[Shard] = field(default_factory=list)
    members: list[str] | None = None

    @property
    def notes(self) -> list[str]:
        read = " and ".join(map(printable, self.source.columns[:3])) + (", ..." if len(self.source.columns) > 3 else "")
        what = f"{self.source.task} by {read}" if self.source.columns else "classes by folders"
        unused = [name for name in self.roles.others if name not in self.source.columns]
        more = f" Not used: {', '.join(map(printable, unused))}." if unused else ""
        return [*self.table.notes, *self.roles.notes, f"Labels are taken from {self.table.place}: {what}.{more}"]


def find_label_table(folder: RawFolder, params: TableParams, layout: str) -> LabelTable | None:
    """None where the dataset has no table.

    Raises:
        DatasetError: the table cannot be read, or it is not plain what it says.
    """
    shards = find_shards(folder)
    files = [file for file in find_tables(folder) if file.path not in {shard.path for shard in shards}]
    samples = [tar for tar in folder.tars.used if tar.sidecars]
    if not files and not shards and not samples:
        if params.task not in ("auto", "classes") or params.columns:
            raise DatasetError(
                f"datasets.{params.dataset} in params.yaml asks for labels from a table, and {folder.place()} has no "
                "labels.csv, .tsv, .jsonl or .parquet."
            )
        return None

    def folders_are_classes() -> bool:
        if shards:
            return False
        try:
            find_layout(folder.again(), layout)
        except DatasetError:
            return False
        return True

    listed = members(folder, shards) if shards else None
    tables = [read_table(folder, file) for file in files] or [read_shard(folder, shard) for shard in shards]
    if not tables:
        listed = list(folder.files_below(""))
        tables = read_samples(folder, samples, listed)
    table = joined(tables)
    for one in tables:
        if not len(one if files else table):
            raise DatasetError(f"{one.place} has no rows. Write one for each image.")
        folder.take(one.file.path)
    roles = find_roles(table, params.dataset, params.columns, params.group)
    source = find_source(table, roles, params.dataset, params.task, folders_are_classes)
    return LabelTable(tables, table, roles, source, shards, listed)


def assign(labels: LabelTable, folder: RawFolder, paths: Sequence[str]) -> Labels:
    """What the table says of the files at these paths; those without a row are left out of the folder's files.

    Raises:
        DatasetError: no row names a file, or see match_files and read_labels.
    """
    table, key = labels.table, labels.roles.key
    keys = _keys(table.columns[key])
    found, notes, start = [], [], 0
    for one in labels.tables:
        # A folder may be one that tars stand for.
        inside = list(map(folder.logical, paths)) if one.file.folder else paths
        matched = match_files(one, keys.slice(start, len(one)), inside, folder.raw)
        found.append(matched.files)
        notes += matched.notes
        start += len(one)
    files = np.concatenate(found)
    missing, ignored = _missing(labels, folder, keys, files)
    if not (files != NONE).any() and not ignored:
        raise table.error(
            0,
            f"there is no image {printable(keys[0].as_py())}, nor one of any other row. Paths are relative to the "
            f"folder of the table; if another column has them: {set_columns(folder.raw.name, 'path: ...')}. If it is "
            f"no table of labels: {leave_out(labels.tables[0].file.path)}.",
        )
    if ignored:
        notes.append(f"{table.place}: {count(ignored, 'row')} of files that data.ignore leaves out.")
    read = read_labels(Rows(table, files, paths), labels.roles, labels.source)
    listed = np.zeros(len(paths), bool)
    listed[files[files != NONE]] = True
    for place in np.flatnonzero(~listed).tolist():
        folder.leave_out(
            paths[place], NO_ROW if labels.shards or extension(paths[place]) in IMAGE_EXTENSIONS else OTHER
        )
    splits, said = read.splits, {one.file.split for one in labels.tables}
    if splits is None and len(said) > 1 and None not in said:
        codes = [SPLITS.index(one.file.split or "") for one in labels.tables]
        of_row = np.repeat(codes, [len(one) for one in labels.tables])
        of_file = np.zeros(len(paths), np.int8)
        of_file[files[files != NONE]] = of_row[files != NONE]
        splits = of_file[read.files]
    if splits is None and labels.shards:
        splits = shard_splits(labels.shards, [paths[place] for place in read.files.tolist()])
    return replace(read, splits=splits, findings=[*missing, *read.findings], notes=[*notes, *read.notes])


def _keys(column: pa.Array) -> pa.Array:
    """The cells that name files as they stand there; spaces may belong to a name."""
    return pc.fill_null(column, "") if pa.types.is_string(column.type) else as_text(column)


def _missing(labels: LabelTable, folder: RawFolder, keys: pa.Array, files: np.ndarray) -> tuple[list[RowFinding], int]:
    """Findings on rows without a file, and the number of rows of files that data.ignore leaves out."""
    found, ignored, start = [], 0, 0
    for table in labels.tables:
        for row in (np.flatnonzero(files[start : start + len(table)] == NONE) + start).tolist():
            path = keys[row].as_py().strip()
            place = f"{table.file.folder}{path}"
            if path and folder.is_ignored(place):
                ignored += 1
                continue
            reason = f"{printable(labels.roles.key)} is empty"
            if path.endswith(NO_IMAGE):
                path, reason = path.removesuffix(NO_IMAGE), "there is no image with this key"
            elif path:
                there = os.path.lexists(folder.raw / place)
                reason = "its name is none of an image" if there else "there is no such file"
            found.append(RowFinding(path, NO_FILE, f"{labels.table.at(row)}: {reason}"))
        start += len(table)
    return found, ignored


def folder_splits(folder: RawFolder, paths: Sequence[str]) -> np.ndarray | None:
    """(N,) int8 positions in SPLITS of files that lie in folders named after splits; None where not all of them do, or
    all in one: a test set without labels leaves the images to train on."""
    root = descend(folder, "")
    named = {f"{root}{name}/": split_name(name) for name in folder.content(root).folders}
    rests = {name.rest if name else None for top, name in named.items() if folder.in_tars(top)}
    same = rests.pop() if len(rests) == 1 else ()  # as of imagenet1k-train-0000.tar, imagenet1k-validation-0000.tar
    places = {top: SPLITS.index(name.split) for top, name in named.items() if name and name.rest in ((), same)}
    if len(set(places.values())) < 2 or SPLITS.index("train") not in places.values():
        return None
    start = len(root)
    found = [places.get(path[: path.find("/", start) + 1], -1) for path in map(folder.logical, paths)]
    return None if -1 in found or len(set(found)) < 2 else np.array(found, np.int8)
