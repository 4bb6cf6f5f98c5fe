"""Images inside other files, read in place: members of tars, and rows of Parquet and Arrow files.

The path of such an image is that of its file, a slash, and the name of the member or the number of the row:
`shard-000.tar/cat/1.jpg`, `train.parquet/00000017`. No other file can have that path, as a file holds no files.
"""

import errno
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from formwork.images.columnar import PARQUET, ColumnarFile, damage_as_oserror, open_columnar
from formwork.images.tars import TAR, Span, TarFile, inner_ends

ROW = re.compile(r"(.+\.(?:parquet|arrow))/(\d{8})", re.DOTALL | re.IGNORECASE)
OPEN_COLUMNAR, OPEN_TARS = 4, 64  # files that a process keeps open


def row_of(path: str) -> tuple[str, int] | None:
    """The Parquet or Arrow file and the row that a path names; None for any other."""
    if not path[-8:].isdigit():  # asked for each image: nearly all end in letters
        return None
    found = ROW.fullmatch(path)
    return (found[1], int(found[2])) if found else None


def row_path(container: str, row: int) -> str:
    return f"{container}/{row:08d}"


def reads_in_groups(path: str) -> bool:
    """Whether many images are read for any one, as of Parquet files."""
    inside = row_of(path)
    return inside is not None and inside[0].lower().endswith(PARQUET)


def possible_containers(path: str) -> list[str]:
    """The files that an image may lie in, by its path; for most images none. Folders may be called so, too."""
    inside = row_of(path)
    return ([inside[0]] if inside else []) + [path[:end] for end in inner_ends(path)]


def in_container(folder: str | os.PathLike, path: str) -> str | None:
    """The container of an image below a folder, relative to it; None for a file of its own."""
    containers = possible_containers(path)
    return next((found for found in containers if os.path.isfile(f"{os.fspath(folder)}/{found}")), None)


def image_source(folder: str | os.PathLike, path: str, span: Span | None = None) -> Path | bytes:
    """What an image below a folder is read from: its file, or its bytes where it lies in a container.

    Args:
        span: where it is in its tar, as its manifest says; without, the tar is listed once for each process.

    Raises:
        OSError: the container cannot be read; damage is one, with EINVAL.
    """
    container = in_container(folder, path)
    return Path(folder, path) if container is None else _read_member(folder, container, path, span)


def read_image(folder: str | os.PathLike, path: str, span: Span | None = None) -> bytes:
    """The bytes of the file of an image; see image_source. Raises OSError: it cannot be read."""
    if container := in_container(folder, path):
        return _read_member(folder, container, path, span)
    with open(f"{os.fspath(folder)}/{path}", "rb") as file:  # no Path: of small images, each counts
        return file.read()


def _read_member(folder: str | os.PathLike, container: str, path: str, span: Span | None) -> bytes:
    on_disk, name = f"{os.fspath(folder)}/{container}", path[len(container) + 1 :]
    if container.lower().endswith(TAR):
        return _tars.get(on_disk).read(name, span)
    with damage_as_oserror(on_disk):
        data = _columnar.get(on_disk).image(int(name))
    if data is None:
        raise OSError(errno.EINVAL, "its row holds no image", f"{os.fspath(folder)}/{path}")
    return data


def sample_files(folder: Path, paths: Sequence[str], number: int = 8) -> list[Path]:
    """A few of the files of a dataset's images, or their containers, evenly chosen."""
    few = range(0, len(paths), -(-len(paths) // number) or 1)
    return [folder / (in_container(folder, paths[at]) or paths[at]) for at in few]


def is_there(folder: str | os.PathLike, path: str) -> bool:
    """Whether the file of an image, or its container, is there."""
    return in_container(folder, path) is not None or os.path.isfile(os.path.join(folder, path))


def container_status(path: str) -> tuple[int, int]:
    """The mtime of a container in ns, and a number that another inode or size changes: if they are the same, so is its
    content. Raises OSError."""
    status = os.stat(path)
    return status.st_mtime_ns, (status.st_ino ^ (status.st_size * 0x9E3779B97F4A7C15)) % (1 << 63)


# --- Open files -----------------------------------------------------------------------------------

T = TypeVar("T")


class OpenFiles(Generic[T]):
    """The containers that this process used last, open. Threads share them, forked processes open their own."""

    def __init__(self, open_one: Callable[[str], T], most: int):
        self._open_one, self._most = open_one, most
        self._open: OrderedDict[tuple[int, str, int, int], T] = OrderedDict()
        self._new_lock()
        os.register_at_fork(after_in_child=self._new_lock)  # a thread that is not there any more may have held it

    def _new_lock(self) -> None:
        self._lock = threading.Lock()

    def get(self, path: str) -> T:
        """Raises OSError: it cannot be opened."""
        key = (os.getpid(), path, *container_status(path))
        with self._lock:
            if key not in self._open:
                self._open[key] = self._open_one(path)
                while len(self._open) > self._most:
                    self._open.popitem(last=False)
            self._open.move_to_end(key)
            return self._open[key]


_columnar: OpenFiles[ColumnarFile] = OpenFiles(open_columnar, OPEN_COLUMNAR)
_tars: OpenFiles[TarFile] = OpenFiles(TarFile, OPEN_TARS)
