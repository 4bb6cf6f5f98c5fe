"""Listing the folders of a raw dataset: what counts, and what is left out because of its name."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from formwork.datasets.folder_names import IMAGE_EXTENSIONS, TEXTS, extension
from formwork.datasets.tar_folders import Tar, folder_names, is_tar
from formwork.datasets.tar_reading import COMPRESSED_ENDS, TarsOfFolder
from formwork.errors import DatasetError
from formwork.escapes import printable, shell_word
from formwork.fetched import RECORD
from formwork.images.manifest import path_bytes
from formwork.images.tars import TAR, inner_ends
from formwork.litter import is_litter
from formwork.params.patterns import parse_patterns

SYSTEM, IGNORED, BESIDE, OTHER = "system file", "ignored", "outside classes", "other file"
NO_ROW, OUTSIDE = "no row", "outside its tar"
LEFT_OUT = {
    NO_ROW: ("image without a row in the table", "images without a row in the table"),
    BESIDE: ("image in no class folder", "images in no class folder"),
    IGNORED: ("match of data.ignore", "matches of data.ignore"),
    OUTSIDE: ("path that leads out of its tar", "paths that lead out of their tars"),
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
class Place:
    """A folder on disk, or one in a tar. path: of it, relative to the raw dataset; "" or with a slash at the end."""

    path: str
    tar: Tar | None = None
    inner: str = ""

    def folder(self, name: str) -> "Place":
        """One in it."""
        return Place(f"{self.path}{name}/", self.tar, f"{self.inner}{name}/")


@dataclass(frozen=True, slots=True)
class Content:
    """What a folder holds, by name, without what is left out because of its name. Folders are sorted, files not.

    A folder may have several places, in several tars: files of one place follow those of another.

    Attributes:
        places: the path of each place, and the number of files that come from there.
    """

    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)

    @property
    def images(self) -> list[str]:
        """The files that are named as images."""
        return [name for name in self.files if extension(name) in IMAGE_EXTENSIONS]

    def paths(self) -> Iterator[str]:
        """The path of each file, relative to the raw dataset."""
        start = 0
        for place, number in self.places:
            for name in self.files[start : start + number]:
                yield place + name
            start += number


class RawFolder:
    """A raw dataset's folders, each read once from disk. A tar is a folder, too: see folder_names in tar_folders.

    Paths of folders are relative to `raw`, with a slash at the end; that of the dataset itself is "". Where tars
    stand for a folder, this path is none on disk; paths of files always are.
    """

    def __init__(self, raw: Path, ignore: Sequence[str] = (), layout: str = "auto") -> None:
        """
        Args:
            ignore: patterns as in a .gitignore, relative to `raw`; of a file in a tar with the tar's path before it.
            layout: but for "auto", tars without folders are classes, and no shards, whatever they are called.
        """
        self.raw, self.ignore, self._layout = raw, list(ignore), layout
        self._ignored = parse_patterns(ignore) if ignore else None
        self._contents: dict[str, Content] = {}
        self._places: dict[str, list[Place]] = {"": [Place("")]}
        self._left_out: dict[str, str] = {}
        self._taken: set[str] = set()
        self.linked: list[str] = []  # folders that are symlinks, of those that were read
        self.loose = False  # whether there are images that lie in no tar, as far as was read
        self.tars = TarsOfFolder(raw, self.place)

    def again(self) -> "RawFolder":
        """The same, with nothing left out yet."""
        found = RawFolder(self.raw, self.ignore, self._layout)
        found.tars.known = self.tars.known
        return found

    def place(self, path: str = "") -> str:
        """A folder or file for a message: as it is found from where the program runs, in one safe line."""
        places = self._places.get(f"{path.rstrip('/')}/", [])
        more = f" and {len(places) - 1} more" if len(places) > 1 else ""
        return printable(self._on_disk(self._shown(path))) + more

    def argument(self, path: str = "") -> str:
        """A folder or file for a command in a message."""
        return shell_word(self._on_disk(self._shown(path)))

    def _shown(self, path: str) -> str:
        """The path on disk of a folder, or that of its first tar; of a file, as it is."""
        places = self._places.get(f"{path.rstrip('/')}/")
        if not path or not places:
            return path
        return places[0].path if path.endswith("/") and places[0].tar is None else places[0].path.rstrip("/")

    def patterns(self, folder: str) -> list[str]:
        """What matches a folder, or the tars that it is made of, relative to the raw dataset."""
        return [
            place.path.rstrip("/") if place.tar and not place.inner else place.path
            for place in self._places.get(folder, [Place(folder)])
        ]

    def in_tars(self, folder: str) -> bool:
        """Whether a folder is a tar, or lies in one."""
        return any(place.tar for place in self._places.get(folder, ()))

    def content(self, folder: str) -> Content:
        """Raises DatasetError: the folder cannot be read."""
        if folder not in self._contents:
            if folder not in self._places:  # the one that it lies in says where it is
                self.content(parent_of(folder))
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

    def single_tar(self, name: str) -> str | None:
        """The folder that a tar at the top is, whatever lies beside it there; None where it holds no images.

        Raises:
            DatasetError: it cannot be opened.
        """
        tar = self.tars.read(name, None)
        if tar is None or not tar.may_hold_images:
            return None
        folder = f"{name}/"
        self._places[folder], self.tars.folder_of[folder] = [Place(folder, tar)], folder
        return folder

    def files_below(self, folder: str, unread: Callable[[str, DatasetError], None] | None = None) -> Iterator[str]:
        """The paths of all files in a class folder that may be images, at any depth.

        Args:
            unread: is given each folder that cannot be read, with the reason, and the others are gone through;
                without it, the first one is an error.
        """
        return self._files_below(folder, (), unread)

    def _files_below(
        self, folder: str, links_in: tuple[Path, ...], unread: Callable[[str, DatasetError], None] | None
    ) -> Iterator[str]:
        """links_in: the real paths of the folders that hold the links through which the folder was reached."""
        try:
            content = self.content(folder)
        except DatasetError as error:
            if unread is None:
                raise
            return unread(folder, error)
        del self._contents[folder]  # all files of a dataset are many names to keep
        texts = {end for end in {name[name.rfind(".") :] for name in content.files} if extension("x" + end) in TEXTS}
        for path, name in zip(content.paths(), content.files, strict=True):
            if texts and extension(name) in TEXTS:
                self.leave_out(path, OTHER)
            else:
                yield path
        for name in content.folders:
            path = f"{folder}{name}/"
            on_disk = next((self._on_disk(place.path).rstrip("/") for place in self._places[path] if not place.tar), "")
            if not on_disk or not os.path.islink(on_disk):
                yield from self._files_below(path, links_in, unread)
                continue
            target, holders = Path(on_disk).resolve(), (*links_in, Path(on_disk).parent.resolve())
            if not any(holder.is_relative_to(target) for holder in holders):
                yield from self._files_below(path, holders, unread)
                continue
            circle = DatasetError(f"{printable(on_disk)} is a link to a folder that it lies in. Remove it.")
            if unread is None:
                raise circle
            unread(path, circle)

    def _on_disk(self, path: str) -> str:
        return f"{self.raw}/{path}" if path else str(self.raw)

    def _read(self, folder: str) -> Content:
        folders: dict[str, list[Place]] = {}
        files: list[str] = []
        counts: list[tuple[str, int]] = []
        waiting = list(self._places.get(folder, [Place(folder)]))
        while waiting:
            place = waiting.pop(0)
            before, tars = len(files), []
            for name, is_folder in self._on_disk_in(place) if place.tar is None else _in_tar(place):
                path = f"{place.path}{name}/" if is_folder else place.path + name
                if is_litter(name):
                    if place.path or name != RECORD:
                        self.leave_out(path, SYSTEM)
                elif self._ignored and self._ignored.match_file(path):
                    self.leave_out(path, IGNORED)
                elif is_folder:
                    folders.setdefault(name, []).append(place.folder(name))
                elif is_tar(name) or name.lower().endswith(COMPRESSED_ENDS):
                    tars.append(name)
                else:
                    files.append(name)
            counts.append((place.path, len(files) - before))
            self.loose |= place.tar is None and any(extension(name) in IMAGE_EXTENSIONS for name in files[before:])
            for name, tar in self._tars_in(place, folder, sorted(tars)):
                if name:
                    folders.setdefault(name, []).append(Place(f"{tar.path}/", tar))
                else:
                    waiting.append(Place(f"{tar.path}/", tar))
        for name, places in folders.items():
            self._places[f"{folder}{name}/"] = places
        return Content(sorted(folders, key=path_bytes), files, counts)

    def _tars_in(self, place: Place, folder: str, names: Sequence[str]) -> list[tuple[str, Tar]]:
        """The tars of a place that hold images, with the folder that each stands for."""
        tars: dict[str, Tar] = {}
        for name in names:
            tar = self.tars.read(place.path + name, place.tar)
            if tar is None or not tar.may_hold_images or self._is_unpacked(place, tar):
                if not self.tars.is_damaged(place.path + name):
                    self.leave_out(place.path + name, OTHER)
                continue
            for path in tar.index.outside:
                self.leave_out(f"{tar.path}/{path}", OUTSIDE)
            tars[name] = tar
        plain = self._layout == "auto"
        named = folder_names((name, plain or not tar.is_flat) for name, tar in tars.items())
        for name, tar in tars.items():
            self.tars.folder_of[f"{tar.path}/"] = f"{folder}{named[name]}/" if named[name] else folder
        return [(named[name], tar) for name, tar in tars.items()]

    def _is_unpacked(self, place: Place, tar: Tar) -> bool:
        """Whether a tar lies beside its own images."""
        folders = {place.path, f"{tar.path[: -len(TAR)]}/", parent_of(place.path) if place.path else ""}
        if place.tar or not tar.is_unpacked_at(*(f"{self.raw}/{folder}" for folder in folders)):
            return False
        self.tars.notes.append(f"{self.place(tar.path)} is left out: its images lie beside it, unpacked.")
        return True

    def logical(self, path: str) -> str:
        """The path of a file with the folders that tars stand for in place of their names."""
        for end in reversed(inner_ends(path)):
            if (folder := self.tars.folder_of.get(path[: end + 1])) is not None:
                return folder + path[end + 1 :]
        return path

    def _on_disk_in(self, place: Place) -> Iterator[tuple[str, bool]]:
        """The names in a folder on disk, each with whether it is a folder."""
        try:
            if place.path and os.path.islink(self._on_disk(place.path).rstrip("/")):
                self.linked.append(place.path)
            with os.scandir(self._on_disk(place.path)) as entries:
                for entry in entries:
                    yield entry.name, not entry.is_file(follow_symlinks=False) and _is_folder(entry)
        except OSError as error:
            raise DatasetError(
                f"{self.place(place.path).rstrip('/')} cannot be read: {error.strerror}. Make it readable, or leave it "
                "out with data.ignore in params.yaml."
            ) from error


def _in_tar(place: Place) -> Iterator[tuple[str, bool]]:
    """The names in a folder of a tar, each with whether it is a folder."""
    assert place.tar is not None
    folders, files = place.tar.folders[place.inner]
    yield from ((name, True) for name in folders)
    yield from ((name, False) for name in files)


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
