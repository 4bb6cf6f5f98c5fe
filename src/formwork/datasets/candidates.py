"""The files of a raw dataset that should be images, with the split and the class of each."""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np

from formwork.datasets.layout import find_layout
from formwork.datasets.listing import LeftOut, RawFolder, name_of
from formwork.errors import DatasetError
from formwork.escapes import is_text, printable
from formwork.images.manifest import SPLITS, in_validation, sorted_paths
from formwork.text import count

LISTED = 20  # names in an error message


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that should be an image; path is relative to the raw dataset."""

    split: str
    class_name: str
    path: str


@dataclass(frozen=True, eq=False)
class Candidates(Sequence[Candidate]):
    """The files that should be images, as columns: N of them, sorted by path. Items are made when they are asked for.

    Attributes:
        paths: relative to the raw dataset.
        class_names: sorted.
        classes: (N,) int32, position of each file's class in class_names.
        splits: (N,) int8, position of each file's split in SPLITS.
    """

    paths: Sequence[str]
    class_names: Sequence[str]
    classes: np.ndarray
    splits: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Candidate:  # type: ignore[override]  # a slice of it has no use
        return Candidate(SPLITS[self.splits[index]], self.class_names[self.classes[index]], self.paths[index])

    def of_classes(self, names: Collection[str]) -> "Candidates":
        """The files of some of the classes."""
        chosen = np.array([name in names for name in self.class_names])
        kept = chosen[self.classes]
        return Candidates(
            list(compress(self.paths, kept)),
            [name for name in self.class_names if name in names],
            (np.cumsum(chosen, dtype=np.int32) - 1)[self.classes[kept]],
            self.splits[kept],
        )


@dataclass(frozen=True)
class RawFiles:
    """What was found in a raw dataset.

    Attributes:
        candidates: the files that should be images.
        left_out: all other files, by path.
        notes: for people, one line each: how the layout was read, and names that are easily confused.
    """

    candidates: Candidates
    left_out: list[LeftOut]
    notes: list[str]


def find_candidates(raw: Path, val_fraction: float, layout: str = "auto", ignore: Sequence[str] = ()) -> Candidates:
    """The candidates alone; see find_files."""
    return find_files(raw, val_fraction, layout, ignore).candidates


def find_files(raw: Path, val_fraction: float, layout: str = "auto", ignore: Sequence[str] = ()) -> RawFiles:
    """The files of `raw`, which is laid out <class>/* or {train,val|test}/<class>/*; see docs/datasets.md.

    Args:
        val_fraction: share of the images to validate on, where there are no folders for splits.
        layout: "auto", "classes" or "splits"; see formwork.datasets.layout.find_layout.
        ignore: patterns of what is left out, as in a .gitignore.

    Raises:
        DatasetError: `raw` is missing, has no class folders, or it is not plain which these are; or a folder is empty
            or cannot be read.
    """
    if not raw.is_dir():
        raise DatasetError(
            f"{raw} is missing. Run `dvc pull {raw}`; add {raw.name!r} to data.fetch in params.yaml if it is a dataset "
            f"that Formwork can fetch; or put your own images there, a folder a class, and run `dvc add {raw}`."
        )
    folder = RawFolder(raw, ignore)
    found = find_layout(folder, layout)
    found_files = {split: _classes(folder, paths) for split, paths in found.classes.items()}
    if None not in found_files:
        _check_same_classes(raw, *(map(name_of, found_files[split]) for split in ("train", "val")))
    names = sorted({name_of(path) for classes in found_files.values() for path in classes})
    notes = [*found.notes, *_check_names(raw, names), *_links(folder)]
    folders = {path: (split, files) for split, classes in found_files.items() for path, files in classes.items()}
    candidates = _columns(folders, val_fraction)
    return RawFiles(candidates, folder.left_out, notes)


def _columns(folders: Mapping[str, tuple[str | None, list[str]]], val_fraction: float) -> Candidates:
    """The columns of all files.

    Args:
        folders: split and sorted paths of each class folder. None lies in another: files are sorted as folders are.
    """
    names = sorted({name_of(folder) for folder in folders})
    codes = {name: code for code, name in enumerate(names)}
    order = sorted_paths(folders)
    paths = [path for folder in order for path in folders[folder][1]]
    classes = np.repeat(
        np.array([codes[name_of(folder)] for folder in order], np.int32), [len(folders[folder][1]) for folder in order]
    )
    splits = np.concatenate([_splits(*folders[folder], val_fraction) for folder in order])
    return Candidates(paths, names, classes, splits)


def _splits(split: str | None, paths: Sequence[str], val_fraction: float) -> np.ndarray:
    """(N,) int8, the split of each file in a class folder."""
    if split is not None:
        return np.full(len(paths), SPLITS.index(split), np.int8)
    train, val = SPLITS.index("train"), SPLITS.index("val")
    return np.array([val if in_validation(path, val_fraction) else train for path in paths], np.int8)


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


def _check_same_classes(raw: Path, train: Iterable[str], val: Iterable[str]) -> None:
    only = sorted(set(train) ^ set(val))
    if not only:
        return
    listed = ", ".join(map(printable, only[:LISTED]))
    for names in _alike(only, _same_at_sight):
        listed += f". {' and '.join(map(ascii, names))} look the same: rename one of them"
    raise DatasetError(f"{raw}: the splits have different classes; only one of them has {listed}.")


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
