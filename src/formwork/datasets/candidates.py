"""The files of a raw dataset that should be images, with the split and the class of each."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from formwork.errors import DatasetError
from formwork.images.manifest import SPLIT_FOLDERS, SPLITS, in_validation

LISTED = 20  # names in an error message


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that should be an image; path is relative to the raw dataset."""

    split: str
    class_name: str
    path: str


def find_candidates(raw: Path, val_fraction: float) -> list[Candidate]:
    """Every file below the class folders of `raw`, which is laid out <class>/* or {train,val|test}/<class>/*.

    Files and folders whose name starts with a dot are passed over.

    Raises:
        DatasetError: `raw` is missing, has no class folders or a mixed layout; or a folder is empty or cannot be read.
    """
    if not raw.is_dir():
        raise DatasetError(
            f"{raw} is missing. Run `dvc pull {raw}`; add {raw.name!r} to data.fetch in params.yaml if it is a dataset "
            f"that Formwork can fetch; or put your own images there, a folder a class, and run `dvc add {raw}`."
        )
    folders = _folders(raw)
    own_splits = [f for f in folders if f.name in SPLIT_FOLDERS]
    if not own_splits:
        classes = _classes(raw, folders)
        return [
            Candidate("val" if in_validation(path, val_fraction) else "train", name, path)
            for name, paths in classes.items()
            for path in paths
        ]
    others = [f.name for f in folders if f.name not in SPLIT_FOLDERS]
    if others:
        raise DatasetError(
            f"{raw} mixes split folders ({', '.join(f.name for f in own_splits)}) with others ({', '.join(others)}). "
            "Use either <class>/* or {train,val}/<class>/*."
        )
    found = {SPLIT_FOLDERS[f.name]: _classes(f, _folders(f), f"{f.name}/") for f in own_splits}
    if len(found) != len(own_splits):
        raise DatasetError(f"{raw} has both val/ and test/. Keep the one to validate on, and move the other elsewhere.")
    for split in SPLITS:
        if split not in found:
            raise DatasetError(
                f"{raw} has {own_splits[0].name}/ and no folder for the {split} split. Add {raw / split}."
            )
    if found["train"].keys() != found["val"].keys():
        only = sorted(found["train"].keys() ^ found["val"].keys())
        raise DatasetError(
            f"{raw}: the splits have different classes; only one of them has {', '.join(only[:LISTED])}."
        )
    return [Candidate(s, name, p) for s, classes in found.items() for name, paths in classes.items() for p in paths]


def _folders(parent: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in _entries(parent) if _is_folder(entry))


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        return [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}.") from error


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symlink to itself: a candidate, to be reported as a bad file
        return False


def _classes(parent: Path, folders: Sequence[Path], prefix: str = "") -> dict[str, list[str]]:
    """Sorted paths by class, relative to the raw dataset, for the class folders of one split.

    Args:
        prefix: path of `parent` relative to the raw dataset, with a slash at its end.
    """
    for folder in folders:
        if not _is_text(folder.name):
            raise DatasetError(f"The name of the class folder {folder} is no UTF-8. Rename it.")
    classes = {folder.name: sorted(_files(folder, f"{prefix}{folder.name}/")) for folder in folders}
    if not classes:
        raise DatasetError(f"{parent} holds no class folders. Put the images of each class into a folder of its own.")
    empty = [str(parent / name) for name, paths in classes.items() if not paths]
    if empty:
        raise DatasetError(f"Class without any file: {', '.join(empty[:LISTED])}. Add images, or remove the folder.")
    if len(classes) == 1:
        raise DatasetError(f"{parent} holds one class only, {next(iter(classes))!r}: there is nothing to tell apart.")
    return classes


def _files(folder: Path, prefix: str, links_in: tuple[Path, ...] = ()) -> Iterator[str]:
    """The files below a folder, each with `prefix` before its path.

    Args:
        links_in: the real paths of the folders that hold the links through which the folder was reached.
    """
    for entry in _entries(folder):
        if not _is_folder(entry):
            yield prefix + entry.name
        elif not entry.is_symlink():
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/", links_in)
        else:
            target, holders = Path(entry.path).resolve(), (*links_in, folder.resolve())
            if any(holder.is_relative_to(target) for holder in holders):
                raise DatasetError(f"{entry.path} is a link to a folder that it lies in. Remove it.")
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/", holders)


def _is_text(name: str) -> bool:
    """Whether a file name is UTF-8. Python decodes other bytes to lone surrogates, which cannot be encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
