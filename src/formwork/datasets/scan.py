"""Looking at raw images: which there are, to which split and class each belongs, and whether each can be read."""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from formwork.datasets.images import read_rgb
from formwork.datasets.manifest import SPLIT_FOLDERS, SPLITS, Row, in_validation
from formwork.errors import DatasetError

VALUES = np.arange(256)
LISTED = 20  # bad files named on screen; all of them are in the report


@dataclass(frozen=True)
class Candidate:
    """A file that should be an image: path relative to the raw dataset."""

    split: str
    class_name: str
    path: str


@dataclass(frozen=True)
class Image8:
    """What reading a file found: its manifest row (label still 0), and the sums for channel statistics.

    sums, squares: (3,) int64, over all pixels, of 8-bit values and their squares by channel.
    """

    split: str
    row: Row
    sums: np.ndarray
    squares: np.ndarray


@dataclass(frozen=True)
class BadFile:
    path: str
    reason: str


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
    except OSError:  # a symlink to itself: to be listed among the bad files
        return False


def _classes(parent: Path, folders: Sequence[Path], prefix: str = "") -> dict[str, list[str]]:
    """Sorted paths by class, relative to the raw dataset, for the class folders of one split."""
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


def _files(folder: Path, prefix: str) -> Iterator[str]:
    for entry in _entries(folder):
        if _is_folder(entry):
            if entry.is_symlink() and folder.resolve().is_relative_to(Path(entry.path).resolve()):
                raise DatasetError(f"{entry.path} is a link to a folder that it lies in. Remove it.")
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield prefix + entry.name


def _is_text(name: str) -> bool:
    """Whether the bytes of a file name are UTF-8; Python stands in lone surrogates for those that are not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def inspect(raw: Path, candidate: Candidate) -> Image8 | BadFile:
    """Read and fully decode one file, once."""
    path = raw / candidate.path
    try:
        data = path.read_bytes()
        if not data:
            return BadFile(candidate.path, "empty file")
        with Image.open(io.BytesIO(data)) as image:
            mode, kind = image.mode, image.format or ""
        rgb = read_rgb(io.BytesIO(data))
    except FileNotFoundError:
        return BadFile(candidate.path, "broken symlink")
    except Image.UnidentifiedImageError:
        return BadFile(candidate.path, "not an image")
    except Exception as error:  # whatever Pillow's parsers raise on hostile bytes, the file is to be listed
        return BadFile(candidate.path, getattr(error, "strerror", None) or str(error) or type(error).__name__)
    histogram = np.array(rgb.histogram(), dtype=np.int64).reshape(3, 256)
    row = Row(
        path=candidate.path,
        class_name=candidate.class_name,
        label=0,
        bytes=len(data),
        width=rgb.width,
        height=rgb.height,
        mode=mode,
        format=kind,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return Image8(candidate.split, row, histogram @ VALUES, histogram @ VALUES**2)


def inspect_all(raw: Path, candidates: Sequence[Candidate], workers: int) -> Iterable[Image8 | BadFile]:
    """`inspect` for each candidate, in order, on threads: Pillow and hashlib release the interpreter's lock."""
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(lambda candidate: inspect(raw, candidate), candidates)
        yield from tqdm(results, total=len(candidates), desc="link", unit=" images", mininterval=0.5)
