"""The files of a raw dataset that should be images, with the split and the class of each."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from formwork.datasets.layout import find_layout
from formwork.datasets.listing import LeftOut, RawFolder, name_of
from formwork.datasets.splits import FREE
from formwork.datasets.tables.assign import TableParams, assign, find_label_table, folder_splits
from formwork.datasets.tables.labels import Labels
from formwork.datasets.tables.rows import RowFinding
from formwork.datasets.tar_reading import TarsOfFolder
from formwork.errors import DatasetError
from formwork.escapes import is_text, printable
from formwork.images.manifest import SPLITS, path_bytes, sorted_paths
from formwork.images.row import FOLDERS, Columns
from formwork.text import count

LISTED = 20  # names in an error message


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that should be an image; path is relative to the raw dataset, and split "" where it has none yet."""

    split: str
    class_name: str
    path: str


@dataclass(frozen=True, eq=False)
class Candidates(Sequence[Candidate]):
    """The files that should be images, as columns: N of them, sorted by path. Items are made when they are asked for.

    Attributes:
        paths: relative to the raw dataset.
        class_names: in order; where the task is another than classes, each different set of labels or targets as text.
        classes: (N,) int32, position of each file's class in class_names.
        splits: (N,) int8, position of each file's split in SPLITS; FREE where the dataset itself says none.
        columns: those of the manifests.
        label_sets: of a multilabel task, the labels that each of class_names stands for.
        targets: (N, K) float64, of a regression.
        groups: (N,) text, "" for none; None where the table says none.
        weights: (N,) float64; None where the table says none.
        spans: (N,) tars.SPAN, where in its tar each is; None where there are no tars.
    """

    paths: Sequence[str]
    class_names: Sequence[str]
    classes: np.ndarray
    splits: np.ndarray
    columns: Columns = FOLDERS
    label_sets: Sequence[tuple[str, ...]] = ()
    targets: np.ndarray | None = None
    groups: pa.Array | None = None
    weights: np.ndarray | None = None
    spans: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Candidate:  # type: ignore[override]  # a slice of it has no use
        split = self.splits[index]
        name = "" if split == FREE else SPLITS[split]
        return Candidate(name, self.class_names[self.classes[index]], self.paths[index])

    def of_classes(self, names: Collection[str]) -> "Candidates":
        """The files of some of the classes."""
        chosen = np.array([name in names for name in self.class_names])
        found = self.at(np.flatnonzero(chosen[self.classes]))
        return replace(
            found,
            class_names=[name for name in self.class_names if name in names],
            classes=(np.cumsum(chosen, dtype=np.int32) - 1)[found.classes],
        )

    def at(self, positions: np.ndarray) -> "Candidates":
        """The files at some positions, in this order."""
        return replace(
            self,
            paths=[self.paths[position] for position in positions.tolist()],
            classes=self.classes[positions],
            splits=self.splits[positions],
            targets=None if self.targets is None else self.targets[positions],
            groups=None if self.groups is None else self.groups.take(pa.array(positions)),
            weights=None if self.weights is None else self.weights[positions],
            spans=None if self.spans is None else self.spans[positions],
        )


@dataclass(frozen=True)
class RawFiles:
    """What was found in a raw dataset.

    Attributes:
        candidates: the files that should be images.
        left_out: all other files, by path.
        notes: for people, one line each: how layout and table were read, and names that are easily confused.
        rows: what is wrong with rows of the table, and with tars.
        tars: those that were read.
    """

    candidates: Candidates
    left_out: list[LeftOut]
    notes: list[str]
    rows: list[RowFinding]
    tars: TarsOfFolder


def find_candidates(raw: Path, layout: str = "auto", ignore: Sequence[str] = ()) -> Candidates:
    """The candidates alone; see find_files."""
    return find_files(raw, layout, ignore).candidates


def find_files(
    raw: Path,
    layout: str = "auto",
    ignore: Sequence[str] = (),
    table: TableParams | None = None,
) -> RawFiles:
    """The files of `raw`, which has a table of labels (docs/labels.md), or is laid out <class>/* or
    {train,val,test}/<class>/* (docs/datasets.md).

    Args:
        layout: "auto", "classes" or "splits"; see formwork.datasets.layout.find_layout.
        ignore: patterns of what is left out, as in a .gitignore.
        table: what params.yaml says of the table.

    Raises:
        DatasetError: `raw` is missing, has neither a table nor class folders, or it is not plain which these are; or a
            folder is empty; or something cannot be read.
    """
    if not raw.is_dir():
        raise DatasetError(
            f"{raw} is missing. Run `dvc pull {raw}`; add {raw.name!r} to data.fetch in params.yaml if it is a dataset "
            f"that Formwork can fetch; or put your own images there, a folder a class, and run `dvc add {raw}`."
        )
    folder = RawFolder(raw, ignore, layout)
    try:
        candidates, notes, rows = _find(folder, layout, table or TableParams(raw.name))
    except DatasetError:
        if not folder.loose:  # then this may be why
            folder.tars.refuse_compressed()
        raise
    tars = folder.tars
    if tars.used:
        tars.refuse_compressed()
    if (spans := tars.spans(candidates.paths)) is not None:
        candidates = replace(candidates, spans=spans, columns=replace(candidates.columns, offsets=True))
    return RawFiles(candidates, folder.left_out, [*_links(folder), *tars.notes, *notes], [*tars.findings, *rows], tars)


def _find(folder: RawFolder, layout: str, table: TableParams) -> tuple[Candidates, list[str], list[RowFinding]]:
    """The candidates, notes, and what is wrong with rows of the table."""
    labels = find_label_table(folder, table, layout)
    if labels is None:
        return *_in_class_folders(folder, layout), []
    if labels.source.columns:
        paths = sorted_paths(labels.members if labels.members is not None else folder.files_below(""))
        no_split = np.full(len(paths), FREE, np.int8)
        candidates = Candidates(paths, [""], np.zeros(len(paths), np.int32), no_split)
        notes: list[str] = []
    else:
        candidates, notes = _in_class_folders(folder, layout)
    read = assign(labels, folder, candidates.paths)
    return _labelled(folder, candidates, read), [*notes, *labels.notes, *read.notes], read.findings


def _labelled(folder: RawFolder, candidates: Candidates, read: Labels) -> Candidates:
    """The candidates that the table lists, with what it says of them."""
    listed = candidates.at(read.files)
    more = Columns(groups=read.groups is not None, weights=read.weights is not None)
    splits = read.splits
    if read.task is None:
        columns, class_names, classes = more, candidates.class_names, listed.classes
        splits = listed.splits if splits is None else splits
    else:
        columns = replace(more, task=read.task, from_table=True, target_names=read.target_names)
        class_names, classes = read.texts()
        splits = folder_splits(folder, listed.paths) if splits is None else splits
    if splits is None:
        splits = np.full(len(listed), FREE, np.int8)
    return replace(
        listed,
        class_names=class_names,
        classes=classes.astype(np.int32),
        splits=splits,
        columns=columns,
        label_sets=read.label_sets,
        targets=read.targets,
        groups=read.groups,
        weights=read.weights,
    )


def _in_class_folders(folder: RawFolder, layout: str) -> tuple[Candidates, list[str]]:
    """The files of a dataset whose folders are classes, and notes on how it was read."""
    raw = folder.raw
    found = find_layout(folder, layout)
    found_files = {split: _classes(folder, paths) for split, paths in found.classes.items()}
    if None not in found_files:
        _check_same_classes(raw, *(map(name_of, classes) for classes in found_files.values()))
    names = sorted({name_of(path) for classes in found_files.values() for path in classes})
    folders = {path: (split, files) for split, classes in found_files.items() for path, files in classes.items()}
    candidates = _columns(folders)
    if folder.tars.used:
        candidates = candidates.at(_order(candidates.paths))
    return candidates, [*found.notes, *_check_names(raw, names)]


def _order(paths: Sequence[str]) -> np.ndarray:
    """(N,) int64, positions of paths in the order of their bytes."""
    key: Callable[[int], Any] = paths.__getitem__
    if not is_text("".join(paths)):
        key = list(map(path_bytes, paths)).__getitem__
    return np.array(sorted(range(len(paths)), key=key), np.int64)


def _columns(folders: Mapping[str, tuple[str | None, list[str]]]) -> Candidates:
    """The columns of all files.

    Args:
        folders: split and sorted paths of each class folder. None lies in another: files are sorted as folders are.
    """
    names = sorted({name_of(folder) for folder in folders})
    codes = {name: code for code, name in enumerate(names)}
    order = sorted_paths(folders)
    paths = [path for folder in order for path in folders[folder][1]]
    files = [len(folders[folder][1]) for folder in order]
    classes = np.repeat(np.array([codes[name_of(folder)] for folder in order], np.int32), files)
    splits = [folders[folder][0] for folder in order]
    positions = np.array([FREE if split is None else SPLITS.index(split) for split in splits], np.int8)
    return Candidates(paths, names, classes, np.repeat(positions, files))


def _classes(folder: RawFolder, class_folders: Sequence[str]) -> dict[str, list[str]]:
    """Sorted paths by class folder, for those of one split."""
    for path in class_folders:
        if not is_text(path):
            raise DatasetError(
                f"The name of the class folder {folder.place(path.rstrip('/'))} is no UTF-8. Rename it; `make doctor` "
                "says how."
            )
    classes = {path: sorted_paths(folder.files_below(path)) for path in class_folders}
    empty = [path for path in class_folders if not classes[path]]
    if empty:
        listed = ", ".join(folder.place(path.rstrip("/")) for path in empty[:LISTED])
        without = sum(file.path.startswith(tuple(empty)) for file in folder.left_out)
        but = f", but {count(without, 'file')} that {'is' if without == 1 else 'are'} left out" if without else ""
        raise DatasetError(
            f"Class without any file: {listed}{but}. Add images, or remove the folder; data.ignore in params.yaml "
            "leaves out folders that are no classes."
        )
    return classes


def _links(folder: RawFolder) -> list[str]:
    if not folder.linked:
        return []
    first, number = folder.place(min(folder.linked).rstrip("/")), len(folder.linked)
    links = f"{first} is a link" if number == 1 else f"{first} and {number - 1} more are links"
    return [
        f"WARNING: {links} to a folder, and DVC follows none: it keeps nothing of these images, "
        "and does not see when they change (`dvc repro -f link` does). Better link the dataset itself, or each file."
    ]


def _check_same_classes(raw: Path, *splits: Iterable[str]) -> None:
    classes = [set(names) for names in splits]
    only = sorted(set().union(*classes) - classes[0].intersection(*classes))
    if not only:
        return
    listed = ", ".join(map(printable, only[:LISTED]))
    for names in _alike(only, _same_at_sight):
        listed += f". {' and '.join(map(ascii, names))} look the same: rename one of them"
    raise DatasetError(f"{raw}: the splits have different classes; not all of them have {listed}.")


def _check_names(raw: Path, names: Sequence[str]) -> list[str]:
    """Notes on names of classes that are easily confused. Raises DatasetError: some look the same."""
    for alike in _alike(names, _same_at_sight):
        raise DatasetError(
            f"{raw} has class folders whose names look the same: {' and '.join(map(ascii, alike))}. They differ in "
            "spaces, or in how Unicode spells their letters. Move the images of one into the other, and remove it."
        )
    return [
        f"WARNING: the classes {' and '.join(map(printable, alike))} differ in case or dots at the end alone: macOS "
        "and Windows take them for one folder."
        for alike in _alike(names, lambda name: name.casefold().rstrip("."))
    ]


def _alike(names: Iterable[str], key: Callable[[str], str]) -> list[list[str]]:
    """Groups of several names with the same key."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _same_at_sight(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()
