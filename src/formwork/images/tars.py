"""Tars of images: what lies in one, and reading an image in place, at its offset.

A member's path is that of its tar, a slash, and its name there: `shard-000.tar/cat/1.jpg`; of a tar in a tar,
`outer.tar/inner.tar/1.jpg`.
"""

import errno
import os
import posixpath
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from formwork.images.tar_headers import (
    BLOCK,
    FILES,
    HARD_LINK,
    SPARSE,
    SYMLINK,
    TarDamage,
    entries,
    is_header,
    number,
)  # fmt: skip

TAR = ".tar"
COMPRESSED = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ": ".xz",
    b"(\xb5/\xfd": ".zst",
    b"\x04\x22M\x18": ".lz4",
}
"""How files are called that begin so: they are compressed."""
NO_TARGET, IS_SPARSE = -2, -3
"""In place of the offset of a member that cannot be read: a link to something that is no file of the tar; a file stored
without its gaps."""
WHY_NOT = {
    NO_TARGET: "it is a link to no file of its tar",
    IS_SPARSE: "it is stored sparse, without its gaps, and has no place of its own in the tar: make the tar without "
    "--sparse",
}
ODD = re.compile(rb"^[./]|//|/\.|^$")  # a name that may be another path's
NEWER = "its tar is no longer what it was when its images were listed"

Span = tuple[int, int]
"""Where the data of a member is in its file: offset and size in bytes."""
SPAN = np.dtype([("offset", np.int64), ("size", np.int64)])
LOOSE = (-1, -1)
"""The SPAN of a file that lies in no tar."""


@dataclass(eq=False)
class TarIndex:
    """The files in a tar, each once, in the order of the archive; of two with the same name the last counts, as when
    the tar is unpacked.

    Attributes:
        names: relative, without "./"; so are those of links to files of the tar, which have their targets' places.
        offsets, sizes: (N,) int64, in bytes of the file on disk; offset NO_TARGET or IS_SPARSE where it has no place.
        outside: names with "..", which would lead out of the folder that the tar is unpacked in: they are no files.
        repeated: number of files that a later one of the same name replaces.
        damage: why the rest of the tar cannot be read; "" where all can.
    """

    names: list[str]
    offsets: np.ndarray
    sizes: np.ndarray
    outside: list[str]
    repeated: int
    damage: str

    def __post_init__(self) -> None:
        # No cached_property: up to Python 3.11 it has a lock, which a thread that is not there any more in a forked
        # process may hold for ever.
        self._place_of: dict[str, int] | None = None

    @property
    def place_of(self) -> dict[str, int]:
        """Positions by name."""
        if self._place_of is None:
            self._place_of = dict(zip(self.names, range(len(self.names)), strict=True))
        return self._place_of

    def spans(self, names: Sequence[str]) -> np.ndarray:
        """(N,) SPAN of files that there are."""
        places = np.fromiter(map(self.place_of.__getitem__, names), np.int64, len(names))
        found = np.empty(len(names), SPAN)
        found["offset"], found["size"] = self.offsets[places], self.sizes[places]
        return found

    def span(self, name: str) -> Span | None:
        """None where there is no such file."""
        place = self.place_of.get(name)
        return None if place is None else (int(self.offsets[place]), int(self.sizes[place]))


def read_index(file: int, start: int = 0, size: int | None = None) -> TarIndex:
    """List a tar.

    Args:
        file: descriptor.
        start, size: of the tar in the file, where it lies in another.

    Raises:
        OSError: the file cannot be read.
    """
    end = os.fstat(file).st_size if size is None else start + size
    spans: dict[str, Span] = {}
    links: list[tuple[str, str]] = []
    outside: list[str] = []
    files, damage = 0, ""
    try:
        for kind, raw_name, link, offset, length in entries(file, start, end):
            name: str | None = raw_name.decode("utf-8", "surrogateescape")
            if ODD.search(raw_name):
                name = _cleaned(raw_name)
            if name is None:
                outside.append(raw_name.decode("utf-8", "surrogateescape"))
            elif kind in FILES:
                files += 1
                spans[name] = (offset, length)
            elif kind == HARD_LINK:  # to what came before
                files += 1
                target = _cleaned(link) or ""
                spans[name] = spans.get(target, (NO_TARGET, 0))
                links.append((name, target))
            elif kind == SPARSE:
                files += 1
                spans[name] = (IS_SPARSE, length)
            elif kind == SYMLINK:
                files += 1
                spans[name] = (NO_TARGET, 0)
                target = posixpath.join(posixpath.dirname(name), link.decode("utf-8", "surrogateescape"))
                links.append((name, posixpath.normpath(target)))
    except TarDamage as error:
        damage = str(error)
    _follow(links, spans)
    places = np.fromiter(chain.from_iterable(spans.values()), np.int64, 2 * len(spans)).reshape(-1, 2)
    return TarIndex(list(spans), places[:, 0], places[:, 1], outside, files - len(spans), damage)


def _cleaned(raw_name: bytes) -> str | None:
    """A name as a relative path; None for one with "..", or for that of the folder itself."""
    name = raw_name.decode("utf-8", "surrogateescape")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    return None if ".." in parts or not parts else "/".join(parts)


def _follow(links: Sequence[tuple[str, str]], spans: dict[str, Span]) -> None:
    """Give links that have no places yet those of the files that they lead to, over other links if need be."""
    targets = dict(links)
    for name, target in targets.items():
        if spans[name] != (NO_TARGET, 0):
            continue  # a later file of this name
        seen = {name}
        while target in targets and target not in seen:
            seen.add(target)
            target = targets[target]
        spans[name] = spans.get(target, (NO_TARGET, 0))


class TarFile:
    """An open tar. It is closed when nobody refers to it any more: a thread may still read from it.

    Raises:
        OSError: it cannot be opened, or is no file.
    """

    def __init__(self, path: str):
        self._file = -1
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        self.path = path
        self._index: TarIndex | None = None  # no cached_property: see TarIndex
        self._inner: dict[str, TarIndex] = {}

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)

    @property
    def index(self) -> TarIndex:
        if self._index is None:
            self._index = read_index(self._file)
        return self._index

    def inner_index(self, name: str) -> TarIndex:
        """That of a tar in this one. Raises OSError: see span."""
        if name not in self._inner:
            self._inner[name] = read_index(self._file, *self._found(self.index, name, name))
        return self._inner[name]

    def span(self, name: str) -> Span:
        """Where a member is, by its name. The first call for a tar reads all of its headers.

        Raises:
            OSError: the tar has no such member, or it cannot be read in place.
        """
        if self.index.span(name) is None:
            for end in inner_ends(name):
                if self.index.span(name[:end]):
                    return self._found(self.inner_index(name[:end]), name[end + 1 :], name)
        return self._found(self.index, name, name)

    def _found(self, index: TarIndex, name: str, whole: str) -> Span:
        span = index.span(name)
        if span is None:
            reason = f"{index.damage}: it is damaged" if index.damage else "its tar holds no such file"
            raise OSError(errno.ENOENT, reason, f"{self.path}/{whole}")
        if span[0] < 0:
            raise OSError(errno.EINVAL, WHY_NOT[span[0]], f"{self.path}/{whole}")
        return span

    def read(self, name: str, span: Span | None = None) -> bytes:
        """The data of a member.

        Args:
            span: where it was when it was listed; so nobody has to read the headers of the tar.

        Raises:
            OSError: it is not there any more, or see span().
        """
        if span is None:
            span = self.span(name)
        elif span[0] < 0:
            raise OSError(errno.EINVAL, WHY_NOT[span[0]], f"{self.path}/{name}")
        offset, size = span
        data = self._pread(BLOCK + size, offset - BLOCK)
        header = data[:BLOCK]
        # Where it is the header of another file, this is a hard link, whose data is its target's, or the tar is new.
        if len(data) < BLOCK + size or not (_is_of(header, name, size) or self.span(name) == span):
            raise OSError(errno.EINVAL, NEWER, f"{self.path}/{name}")
        return data[BLOCK:]

    def _pread(self, size: int, offset: int) -> bytes:
        data = os.pread(self._file, size, offset)
        while len(data) < size and (more := os.pread(self._file, size - len(data), offset + len(data))):
            data += more  # a call reads 2 GB at most
        return data


def _is_of(header: bytes, name: str, size: int) -> bool:
    """Whether a header is that of a member, as far as it says: it may have a part of the name, or nothing that is no
    ASCII."""
    if number(header[124:136]) != size or not is_header(header):
        return False
    if not name.isascii():
        return True
    short = header[:100].partition(b"\0")[0].removeprefix(b"./").lstrip(b"/")
    whole = name.encode()
    return whole == short or whole.endswith(b"/" + short) or (len(short) > 90 and whole.startswith(short))


def inner_ends(path: str) -> list[int]:
    """Where in a path the names of possible tars end: before each slash that follows ".tar"."""
    lower = path.lower()
    found, at = [], lower.find(TAR + "/")
    while at >= 0:
        found.append(at + len(TAR))
        at = lower.find(TAR + "/", at + 1)
    return found


def compression(file: int, start: int = 0) -> str | None:
    """The extension of a compressed file; None for one that is none. Raises OSError.

    Args:
        file: descriptor. start: where it begins, if it lies in another.
    """
    begin = os.pread(file, 6, start)
    return next((end for magic, end in COMPRESSED.items() if begin.startswith(magic)), None)
