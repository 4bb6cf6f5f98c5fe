"""Writing files so that a reader sees the old one or the whole new one, never a part."""

import fcntl
import mmap
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from formwork import limits
from formwork.errors import FormworkError

PATIENCE = 20  # times that a folder is tried to be removed, a tenth of a second apart


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well, and disappears when it does not.

    It replaces `path` and never writes to it: `path` may be a link into DVC's cache, which must not change.
    The temporary name is always the same and locked while in use, so that what a killed process left behind is
    overwritten by the next one.

    Raises:
        FormworkError: the folder cannot be written, the disk is full, or another process is writing the same file.
    """
    with _temporary(path) as (temporary, file):
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except (OSError, RuntimeError) as error:  # RuntimeError: of torch, for whatever writing has raised
            refusal = limits.behind(error)
            if refusal is None:
                raise
            raise FormworkError(f"Cannot write {path}: {_reason(refusal, 'Nothing was changed.')}") from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """`with writing(path):` around a library that writes a file or a folder by itself.

    Raises:
        FormworkError: the system refuses it.
    """
    try:
        yield
    except OSError as error:
        if not error.errno:
            raise
        raise FormworkError(f"Cannot write {error.filename or path}: {_reason(error)}") from error


def check_writable(*paths: Path) -> None:
    """Refuse now what would be refused after hours of work: a file in a folder that is read-only, or on a full disk.

    Raises:
        FormworkError: see atomic_write.
    """
    for path in paths:
        with _temporary(path) as (temporary, file), writing(path):
            file.write(bytes(mmap.PAGESIZE))
            file.flush()
            temporary.unlink()


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """The name of a file beside `path`, and the file, empty and locked; it is gone when the block fails."""
    temporary = path.with_name(f".{path.name}.tmp")
    if obstacle := _obstacle(path):
        raise FormworkError(f"Cannot write {path}: {obstacle}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT, 0o666), "r+b")  # without truncating another's
    except OSError as error:
        raise FormworkError(f"Cannot write {path}: {_reason(error)}") from error
    with file:
        if not (try_lock(file.fileno()) and _is_named(file, temporary)):
            raise FormworkError(f"Another process is writing {path}. Wait for it, or stop it.")
        file.truncate(0)
        try:
            yield temporary, file
        except BaseException:
            temporary.unlink(missing_ok=True)
            with suppress(OSError):
                file.close()  # a full disk refuses what is still buffered once more
            raise


def _obstacle(path: Path) -> str | None:
    """What stands in the way of a file, with what to do: a folder of its name, or no folder where one is needed."""
    if path.is_dir() and not path.is_symlink():
        return "it is a folder. Move it away."
    for folder in path.parents:
        if folder.is_dir():
            return None
        if folder.is_symlink():
            return f"{folder} is a link to {os.readlink(folder)}, which is no folder. Mount it, or remove the link."
        if folder.exists():
            return f"{folder} is no folder. Move it away."
    return None


def _reason(error: OSError, *more: str) -> str:
    """Sentences on why a file cannot be written, and what to do."""
    return " ".join(filter(None, [f"{error.strerror or error}.", *more, limits.advice(error)]))


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


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder that becomes `path` when the block ends well, and disappears when it does not.

    It takes the place of a file or folder of that name as a whole. A killed process leaves at most `path` as it was,
    and a folder beside it that the next one removes.

    Raises:
        FormworkError: the folder cannot be written, or another process is writing it.
    """
    partial, old = (path.with_name(f".{path.name}.{kind}") for kind in ("partial", "old"))
    with writing(path):
        partial.mkdir(parents=True, exist_ok=True)
        lock = os.open(partial, os.O_RDONLY)
        try:
            if not try_lock(lock):
                raise FormworkError(f"Another process is writing {path}. Wait for it, or stop it.")
            _restore(old, path)
            for left in partial.iterdir():  # by a process that was killed
                _remove(left)
            try:
                yield partial
                if os.path.lexists(path):
                    os.replace(path, old)
                os.replace(partial, path)
            except BaseException:
                _restore(old, path)
                for _ in range(PATIENCE):
                    with suppress(OSError):  # another process may be writing into it: then the next run removes it
                        _remove(partial)
                        break
                    time.sleep(0.1)
                raise
            _remove(old)
        finally:
            os.close(lock)


def _restore(old: Path, path: Path) -> None:
    """Undo a swap that was interrupted half way; remove what a finished one left."""
    if os.path.lexists(old) and not os.path.lexists(path):
        os.replace(old, path)
    _remove(old)


def _remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
