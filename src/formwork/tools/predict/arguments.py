"""Which images the arguments of a command name: files, folders, globs, tars, Parquet and Arrow files, manifests."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from formwork.datasets.listing import RawFolder
from formwork.datasets.tar_folders import is_tar
from formwork.datasets.tar_reading import COMPRESSED_ENDS, UNPACK
from formwork.errors import FormworkError
from formwork.escapes import shell_word
from formwork.images.columnar import EXTENSIONS, PARQUET, image_column, open_columnar
from formwork.images.containers import in_container, row_path
from formwork.images.manifest import Manifest, is_manifest, read_manifest, sorted_paths
from formwork.images.tars import LOOSE, SPAN, Span

NO_IMAGES = "holds no images"


class Named(NamedTuple):
    """An image that an argument names.

    Attributes:
        root, path: of its file, or of its place in a container; see formwork.images.containers.
        span: where it is in its tar, as far as that is known already.
        problem: why it is none, as far as that is known already; "" where it is to be tried.
    """

    root: str
    path: str
    span: Span | None
    problem: str

    @property
    def shown(self) -> str:
        """Its path from where the command runs."""
        if self.path == ".":  # the folder itself
            return self.root
        return self.path if self.root == "." else f"{self.root.rstrip('/')}/{self.path}"


@dataclass
class Images:
    """Images below one folder.

    Attributes:
        root: the folder.
        paths: relative to it.
        spans: (N,) SPAN, where each is in its tar.
        problems: of paths that are no images, or of what could not be searched for any.
    """

    root: str
    paths: Sequence[str]
    spans: np.ndarray | None = None
    problems: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Named]:
        for number, path in enumerate(self.paths):
            span = None if self.spans is None else self.spans[number].item()
            yield Named(self.root, path, None if span == LOOSE else span, self.problems.get(path, ""))

    def without(self, known: set[str]) -> "Images":
        """Those that are not in a set of real paths, which they are added to."""
        real = os.path.realpath(self.root)
        new = []
        for number, path in enumerate(self.paths):
            if (place := f"{real}/{path}") not in known:
                known.add(place)
                new.append(number)
        if len(new) == len(self.paths):
            return self
        spans = None if self.spans is None else self.spans[new]
        return Images(self.root, [self.paths[number] for number in new], spans, self.problems)


def find_images(arguments: Sequence[str]) -> list[Images]:
    """The images of some arguments, each once, in the order of the arguments, those of a folder sorted by path.

    Nothing of them is read but the names. What cannot be used is among them, with its problem.
    """
    known: set[str] = set()
    found = [images for argument in arguments for images in _of(argument)]
    return list(_joined(found if len(found) == 1 else (images.without(known) for images in found)))


def _joined(parts: Iterable[Images]) -> Iterator[Images]:
    """The same, with neighbours in one folder together: a shell may have named many files."""
    for (root, plain), group in groupby(parts, lambda images: (images.root, images.spans is None)):
        members = list(group)
        if len(members) == 1 or not plain:
            yield from members
            continue
        problems = {path: problem for images in members for path, problem in images.problems.items()}
        yield Images(root, [path for images in members for path in images.paths], None, problems)


def _of(argument: str) -> Iterator[Images]:
    path = os.fspath(Path(argument))  # without ./, // and a slash at the end
    if os.path.isdir(path):
        yield _folder(path)
    elif os.path.isfile(path):
        yield _file(path)
    elif os.path.lexists(path):
        yield _single(path)  # a link to nothing, a pipe, ...: reading it says so
    elif container := in_container("/" if os.path.isabs(path) else ".", path):
        root, name = os.path.split(container)
        yield Images(root or ".", [f"{name}{path[len(container) :]}"])
    elif glob.has_magic(argument):
        matches = sorted_paths(glob.iglob(argument, recursive=True))
        for match in matches:
            yield from _of(match)
        if not matches:
            yield _single(path, "no file matches")
    else:
        yield _single(path, "no such file or folder")


def _single(path: str, problem: str = "") -> Images:
    root, name = os.path.split(path)
    return Images(root or ".", [name], problems={name: problem} if problem else {})


def _file(path: str) -> Images:
    folder, name = os.path.split(path)
    try:
        if is_tar(name) or name.lower().endswith(COMPRESSED_ENDS):
            listing = RawFolder(Path(folder or "."))
            below = listing.single_tar(name)
            return _listed(listing, folder or ".", [] if below is None else listing.files_below(below), name)
        if name.lower().endswith(EXTENSIONS):
            rows = _rows(folder or ".", name)
            return _single(path, NO_IMAGES) if rows is None else Images(folder or ".", rows)
        if name.lower().endswith(".csv") and is_manifest(Path(path)):
            return _of_manifest(path, read_manifest(Path(path)))
    except (FormworkError, OSError) as error:
        return _single(path, getattr(error, "strerror", None) or str(error))
    return _single(path)


def _folder(root: str) -> Images:
    listing, problems = RawFolder(Path(root)), {}

    def unread(folder: str, error: FormworkError) -> None:
        problems[folder.rstrip("/") or "."] = str(error)

    return _listed(listing, root, listing.files_below("", unread), ".", problems)


def _listed(
    listing: RawFolder, root: str, files: Iterable[str], name: str, problems: dict[str, str] | None = None
) -> Images:
    """The images of a listing, and what is wrong with it.

    Args:
        name: what holds no images, where there are none.
    """
    problems = {} if problems is None else problems
    paths: list[str] = []
    for path in files:
        if path.lower().endswith(EXTENSIONS):
            paths += _rows_if_any(root, path, problems)
        else:
            paths.append(path)
    tables = [left.path for left in listing.left_out if left.path.lower().endswith(PARQUET)]
    paths += [row for path in tables for row in _rows_if_any(root, path, problems)]
    problems |= {finding.path: finding.reason for finding in listing.tars.findings}
    for path, end in listing.tars.compressed.items():
        packed = shell_word(f"{root}/{path}")
        problems[path] = f"compressed: make a plain tar of it, with `{UNPACK[end]} {packed}`"
    if not paths and not problems:
        problems[name] = NO_IMAGES
    paths = sorted_paths({*paths, *problems} if problems else paths)
    return Images(root, paths, None if problems else listing.tars.spans(paths), problems)


def _rows_if_any(root: str, path: str, problems: dict[str, str]) -> list[str]:
    """The images in a Parquet or Arrow file; a table without images has none, and no problem."""
    try:
        return _rows(root, path) or []
    except OSError as error:
        problems[path] = error.strerror or str(error)
        return []


def _rows(root: str, path: str) -> list[str] | None:
    """The images in a Parquet or Arrow file; None where it has no column of images. Raises OSError."""
    file = open_columnar(f"{root}/{path}")
    return None if image_column(file.schema) is None else [row_path(path, row) for row in range(len(file))]


def _of_manifest(path: str, manifest: Manifest) -> Images:
    """The images of data/interim/<name>/<split>.csv, which are in data/raw/<name>."""
    interim = Path(path).absolute().parent
    raw = str(interim.parent.parent / "raw" / interim.name)
    raw = raw if os.path.isabs(path) else os.path.relpath(raw)
    if not os.path.isdir(raw):
        return _single(path, f"its images are missing: {raw} is no folder. `dvc pull {shell_word(raw)}` may bring them")
    spans = None
    if manifest.columns.offsets:
        spans = np.empty(len(manifest), SPAN)
        offsets = manifest.numbers("offset")
        spans["offset"], spans["size"] = offsets, np.where(offsets < 0, LOOSE[1], manifest.numbers("bytes"))
    return Images(raw, manifest.paths, spans)
