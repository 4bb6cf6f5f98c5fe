"""Writing files so that a reader sees the old one or the whole new one, never a part."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from formwork.errors import FormworkError


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well, and disappears when it does not.

    It replaces `path` and never writes to it: `path` may be a link into DVC's cache, which must not change.
    The temporary name is always the same and locked while in use, so that what a killed process left behind is
    overwritten by the next one.

    Raises:
        FormworkError: the folder cannot be written, the disk is full, or another process is writing the same file.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT, 0o666), "r+b")  # without truncating another's
    except OSError as error:
        raise FormworkError(f"Cannot write {path}: {error.strerror}. Check the permissions of its folder.") from error
    with file:
        if not (try_lock(file.fileno()) and _is_named(file, temporary)):
            raise FormworkError(f"Another process is writing {path}. Wait for it, or stop it.")
        file.truncate(0)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            with suppress(OSError):
                file.close()  # a full disk refuses what is still buffered once more
            if isinstance(error, OSError):
                raise FormworkError(f"Cannot write {path}: {error.strerror or error}. Nothing was changed.") from error
            raise


def try_lock(descriptor: int) -> bool:
    """Take the lock of an open file or folder, if no other process holds it; it is held until the file is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_named(file: BinaryIO, path: Path) -> bool:
    """Whether an open file still is the one of that name: its writer may have finished, and renamed it, between our
    opening and our locking it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically, in UTF-8; file names that are no UTF-8 keep their bytes."""
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))
