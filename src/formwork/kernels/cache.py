"""Where compiled kernels are kept: one folder of a user for each state of the sources, not one for each copy of them.

Importing this module tells numba so; it must be imported before the first kernel is defined.
"""

import fcntl
import mmap
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from numba.core import caching, config
from numba.core.runtime.nrt import rtsys

from formwork import own
from formwork.code import KERNELS, PACKAGE, code_digest
from formwork.kernels.kept_only import NotKept, is_kept_only

KEPT = 30 * 24 * 3600  # seconds for which the kernels of sources that nobody uses any more are kept
TURN_SECONDS, LOOK_SECONDS = 60, 0.1  # that a process waits at most for another to compile, and between two looks


@cache
def source_digest(with_own: bool = False) -> str:
    """SHA-256, shortened, of all code that a kernel can contain. Numba itself looks only at the file that a function is
    in, though the functions that it calls, and constants, are compiled into it.

    Args:
        with_own: include the code in src/own, which kernels there can contain, and ours cannot.
    """
    return code_digest(KERNELS, own.folder() if with_own else None)[:32]


@cache
def cache_folder(digest: str) -> Path:
    """The folder of this user's kernels for one state of the sources, in whatever clone or copy of the repository that
    is. Where it cannot be written, kernels are not kept."""
    try:
        base = config.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:  # a user without a name, as in some containers
        return Path(os.devnull) / digest
    kept = Path(base) / "formwork" / "kernels"
    folder = kept / digest
    with suppress(OSError):  # KernelCache says so, where there is anything to keep
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)  # in use
        _tidy(kept, folder)
    return folder


def why_not_kept(folder: Path) -> str | None:
    """What the system says against keeping kernels there; None where they are kept."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(mmap.PAGESIZE))
    except OSError as error:
        return error.strerror or str(error)
    return None


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """`with one_at_a_time():` of the processes of a user that compile the same sources one goes ahead, and the others
    then find what it has kept. None waits for longer than TURN_SECONDS."""
    with ExitStack() as stack:
        with suppress(OSError):  # a folder that cannot be written, or a file system without locks
            file = stack.enter_context((cache_folder(source_digest()) / "compiling.lock").open("w"))
            end = time.monotonic() + TURN_SECONDS
            while time.monotonic() < end:
                with suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                time.sleep(LOOK_SECONDS)
        yield


class KernelCache(caching.FunctionCache):
    """Numba's cache of a function: where it cannot be used, the function is compiled in each process."""

    warned = False

    def __init__(self, function: Callable):
        super().__init__(function)
        self._ours = _is_ours(Path(function.__code__.co_filename))

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        found = None
        if self._ours:  # what numba can compile need not be known to load what is compiled: most of the time it takes
            rtsys.initialize(target_context)
            with self._guard_against_spurious_io_errors():
                found = self._load_overload(signature, target_context)
        else:
            found = super().load_overload(signature, target_context)
        if found is None and is_kept_only():
            raise NotKept(self)
        return found

    @contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever the system refuses, or numba makes of a damaged file
            self.disable()
            if not KernelCache.warned:
                KernelCache.warned = True
                reason = error.strerror if isinstance(error, OSError) else None
                warnings.warn(
                    f"Kernels cannot be kept in {self.cache_path} ({reason or error or type(error).__name__}): each "
                    "process compiles them anew. Make room there, or set NUMBA_CACHE_DIR to another folder.",
                    stacklevel=2,
                )


def _is_ours(path: Path) -> bool:
    return any(path.is_relative_to(PACKAGE / part) for part in KERNELS)


def _tidy(kept: Path, used: Path) -> None:
    with suppress(FileNotFoundError):  # another process does the same
        for folder in kept.iterdir():
            if folder.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(folder, ignore_errors=True)
        for file in used.glob("*.nb[ic]"):
            if not file.stat().st_size:  # what a loss of power leaves; numba would fail on it each time
                file.unlink()


class SharedLocator(caching._CacheLocator):
    """Tells numba where to keep the kernels of this package and of src/own; it keeps all others as usual."""

    def __init__(self, function: Callable, file: str, root: Path):
        self._py_file = file  # for numba's warnings
        self._digest = source_digest(with_own=root != PACKAGE)
        place = Path(file).relative_to(root.parent).as_posix().replace("/", ".")
        self._place = f"{place}-{function.__code__.co_firstlineno}"

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> "SharedLocator | None":
        path = Path(py_file)
        if _is_ours(path):
            return cls(py_func, py_file, PACKAGE)
        root = own.folder()  # for others alone: to ask for each of ours takes a tenth of the time to the first batch
        return cls(py_func, py_file, root) if root and path.is_relative_to(root) else None

    def get_cache_path(self) -> str:
        return str(cache_folder(self._digest))

    def get_source_stamp(self) -> str:
        return self._digest

    def get_disambiguator(self) -> str:
        return self._place


if SharedLocator not in caching.CacheImpl._locator_classes:
    caching.CacheImpl._locator_classes.insert(0, SharedLocator)
