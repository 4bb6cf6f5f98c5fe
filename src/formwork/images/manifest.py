"""Manifests: one CSV a split that says exactly which images it holds. Everything downstream is made from them."""

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import chain
from operator import attrgetter
from pathlib import Path

import numpy as np

from formwork.errors import DatasetError
from formwork.formats import write_csv

SPLITS = ("train", "val")


@dataclass(frozen=True, slots=True)
class Row:
    """One image.

    Attributes:
        path: relative to the raw dataset, with forward slashes.
        class_name: name of the class folder.
        label: position of class_name among the sorted class names.
        bytes: size of the file.
        width, height: in pixels, upright.
        mode, format: as Pillow names what the file holds, e.g. "L" and "PNG".
        sha256: of the file's content, hexadecimal.
    """

    path: str
    class_name: str
    label: int
    bytes: int
    width: int
    height: int
    mode: str
    format: str
    sha256: str

    @property
    def tree_path(self) -> str:
        """Path in the tree of links of its split: <class>/<file>, without the folders that the class folder lies in."""
        if self.path.startswith(f"{self.class_name}/"):
            return self.path
        _, found, rest = self.path.partition(f"/{self.class_name}/")
        return f"{self.class_name}/{rest}" if found else self.path


HEADER = [field.name for field in fields(Row)]


@dataclass(frozen=True)
class Manifest:
    """The images of one split; a sample id is a row number.

    Attributes:
        path: of the CSV file.
        rows: sorted by path.
    """

    path: Path
    rows: Sequence[Row]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    @cached_property
    def labels(self) -> np.ndarray:
        """(N,) int64."""
        return np.array([row.label for row in self.rows], dtype=np.int64)

    @cached_property
    def storage_order(self) -> np.ndarray:
        """(N,) int64: sample ids in the order in which a beton stores them, which is that of a hash of each path.

        So neighbours in a beton are a random sample of the classes, and an added image does not reorder the others.
        """
        keys = [hashlib.sha256(b"storage\0" + path_bytes(row.path)).digest() for row in self.rows]
        return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        DatasetError: the file is missing, damaged, cannot be read, or is no manifest of this version.
    """
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError as error:
        raise DatasetError(
            f"Manifest {path} is missing. Run `dvc pull {path}`, or `dvc repro link` to make it from the raw images."
        ) from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.") from error
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        if next(lines, None) != HEADER:
            raise DatasetError(f"{path} is no manifest of this version. Run `dvc repro -f link`.")
        rows = [
            Row(path_, class_name, int(label), int(size), int(width), int(height), mode, kind, sha256)
            for path_, class_name, label, size, width, height, mode, kind, sha256 in lines
        ]
    except (ValueError, csv.Error) as error:
        raise DatasetError(
            f"{path} is damaged ({error}). Run `dvc checkout {path}`, or `dvc repro -f link`."
        ) from error
    return Manifest(path, rows)


def write_manifest(path: Path, rows: Sequence[Row]) -> Manifest:
    """Write rows, sorted by path; the same rows give the same bytes."""
    rows = sorted(rows, key=lambda row: path_bytes(row.path))
    write_csv(path, chain([HEADER], map(attrgetter(*HEADER), rows)))
    return Manifest(path, rows)


def in_validation(path: str, fraction: float) -> bool:
    """Whether an image belongs to the validation split, by a hash of its path alone: added or removed images do not
    move others between the splits."""
    return chosen_by_hash(b"split\0" + path_bytes(path), fraction)


def chosen_by_hash(key: bytes, fraction: float) -> bool:
    """True for a `fraction` of all keys, as if at random, and always the same for the same key."""
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") < fraction * 2**64


def path_bytes(path: str) -> bytes:
    """A path as the file system has it, which need not be UTF-8."""
    return path.encode("utf-8", "surrogateescape")
