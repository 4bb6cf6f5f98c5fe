"""Listing the folders of a raw dataset: what counts, and what is left out because of its name."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from formwork.datasets.folder_names import IMAGE_EXTENSIONS, TEXTS, extension
from formwork.errors import DatasetError
from formwork.escapes import printable, shell_word
from formwork.fetched import RECORD
from formwork.images.manifest import path_bytes
from formwork.litter import is_litter
from formwork.params.patterns import parse_patterns

SYSTEM, IGNORED, BESIDE, OTHER = "system file", "ignored", "outside classes", "other file"
NO_ROW = "no row"
LEFT_OUT = {
    NO_ROW: ("image without a row in the table", "images without a row in the table"),
    BESIDE: ("image in no class folder", "images in no class folder"),
    IGNORED: ("match of data.ignore", "matches of data.ignore"),
    OTHER: ("other file", "other files"),
    SYSTEM: ("hidden or system file", "hidden or system files"),
}
"""Why files are no candidates, and how they are counted: images that no row of the table of labels names, or that lie
in no class folder; matched by data.ignore; text, tables and archives; hidden, or litter of a system."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file, or a folder with all that is in it, that is no candidate.

    Attributes:
        path: relative to the raw dataset; a slash at the end of a folder's.
        kind: one of LEFT_OUT.
    """

    path: str
    kind: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a folder holds, by name, without what is left out because of its name. Folders are sorted, files not."""

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    @property
    def images(self) -> list[str]:
        """The files that are named as images."""
        return [name for name in self.files if extension(name) in IMAGE_EXTENSIONS]


class RawFolder:
    """A raw dataset's folders, each read once from disk.

    Paths of folders are relative to `raw`, with a slash at the end; that of the dataset itself is "".
    """

    def __init__(self, raw: Path, ignore: Sequence[str] = ()) -> None:
        """ignore: patterns as in a .gitignore, relative to `raw`."""
        self.raw, self.ignore = raw, list(ignore)
        self._ignored = parse_patterns(ignore) if ignore else None
        self._contents: dict[str, Content] = {}
        self._left_out: dict[str, str] = {}
        self._taken: set[str] = set()
        self.linked: list[str] = []  # folders that are symlinks, of those that were read

    def place(self, path: str = "") -> str:
        """A folder or file for a message: as it is found from where the program runs, in one safe line."""
        return printable(self._on_disk(path))

    def argument(self, path: str = "") -> str:
        """A folder or file for a command in a message."""
        return shell_word(self._on_disk(path))

    def content(self, folder: str) -> Content:
        """Raises DatasetError: the folder cannot be read."""
        if folder not in self._contents:
            self._contents[folder] = self._read(folder)
        return self._contents[folder]

    def leave_out(self, path: str, kind: str) -> None:
        self._left_out[path] = kind

    def take(self, path: str) -> None:
        """Note that a file is used, and so is not left out: a table of labels."""
        self._taken.add(path)

    def is_ignored(self, path: str) -> bool:
        """Whether data.ignore leaves out a file."""
        return self._ignored is not None and self._ignored.match_file(path)

    @property
    def left_out(self) -> list[LeftOut]:
        """What was left out of the folders that were read, sorted by path."""
        left_out = sorted(self._left_out.items(), key=lambda i: path_bytes(i[0]))
        return [LeftOut(path, kind) for path, kind in left_out if path not in self._taken]

    def files_below(self, folder: str) -> Iterator[str]:
        """The paths of all files in a class folder that may be images, at any depth."""
        return self._files_below(folder, ())

    def _files_below(self, folder: str, links_in: tuple[Path, ...]) -> Iterator[str]:
        """links_in: the real paths of the folders that hold the links through which the folder was reached."""
        content = self.content(folder)
        del self._contents[folder]  # all files of a dataset are many names to keep
        texts = {end for end in {name[name.rfind(".") :] for name in content.files} if extension("x" + end) in TEXTS}
        for name in content.files:
            if texts and extension(name) in TEXTS:
                self.leave_out(folder + name, OTHER)
            else:
                yield folder + name
        for name in content.folders:
            path = f"{folder}{name}/"
            on_disk = self._on_disk(path).rstrip("/")
            if not os.path.islink(on_disk):
                yield from self._files_below(path, links_in)
                continue
            target, holders = Path(on_disk).resolve(), (*links_in, Path(self._on_disk(folder)).resolve())
            if any(holder.is_relative_to(target) for holder in holders):
                raise DatasetError(f"{printable(on_disk)} is a link to a folder that it lies in. Remove it.")
            yield from self._files_below(path, holders)

    def _on_disk(self, path: str) -> str:
        return f"{self.raw}/{path}" if path else str(self.raw)

    def _read(self, folder: str) -> Content:
        folders: list[str] = []
        files: list[str] = []
        try:
            if folder and os.path.islink(self._on_disk(folder).rstrip("/")):
                self.linked.append(folder)
            with os.scandir(self._on_disk(folder)) as entries:
                for entry in entries:
                    name = entry.name
                    is_folder = not entry.is_file(follow_symlinks=False) and _is_folder(entry)
                    end = "/" if is_folder else ""
                    if is_litter(name):
                        if folder or name != RECORD:
                            self.leave_out(folder + name + end, SYSTEM)
                    elif self._ignored and self._ignored.match_file(folder + name + end):
                        self.leave_out(folder + name + end, IGNORED)
                    else:
                        (folders if is_folder else files).append(name)
        except OSError as error:
            raise DatasetError(
                f"{self.place(folder).rstrip('/')} cannot be read: {error.strerror}. Make it readable, or leave it out "
                "with data.ignore in params.yaml."
            ) from error
        return Content(sorted(folders, key=path_bytes), files)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a symlink to itself: a candidate, to be reported as a bad file
        return False


def name_of(path: str) -> str:
    """The name of a folder, by its path as in RawFolder."""
    return path.rstrip("/").rpartition("/")[2]


def parent_of(path: str) -> str:
    """The path of the folder that a folder lies in."""
    return path[: len(path) - len(name_of(path)) - 1]
