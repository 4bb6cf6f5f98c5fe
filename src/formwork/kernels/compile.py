"""`@kernel`: compiles a function with numba, once for all workspaces of a user rather than once for each copy of it."""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from numba import njit
from numba.core import caching, config

from formwork import own
from formwork.code import KERNELS, PACKAGE, code_digest

KEPT = 30 * 24 * 3600  # seconds that the kernels of sources which nobody uses any more are kept


@cache
def source_digest(with_own: bool = False) -> str:
    """Of all code that a kernel can contain: numba itself looks at the one file that a function is in, though the
    functions that it calls, and constants, are compiled into it.

    Args:
        with_own: that of kernels in the user's own code, which none of ours contain.
    """
    return code_digest(KERNELS, own.folder() if with_own else None)[:32]


@cache
def cache_folder(digest: str) -> Path:
    """Where this user's kernels are kept: a folder for each state of the sources, whatever clone or temporary copy of
    the repository they are in. Where that cannot be written, a folder of this process alone."""
    base = config.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    kept = Path(base) / "formwork" / "kernels"
    folder = kept / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        os.utime(folder)  # in use
        _tidy(kept, folder)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="formwork-kernels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _tidy(kept: Path, used: Path) -> None:
    with suppress(FileNotFoundError):  # another process does the same
        for folder in kept.iterdir():
            if folder.stat().st_mtime < time.time() - KEPT:
                shutil.rmtree(folder, ignore_errors=True)
        for file in used.glob("*.nb[ic]"):
            if not file.stat().st_size:  # what a loss of power leaves; numba would fail on it each time
                file.unlink()


class SharedLocator(caching._CacheLocator):
    """Tells numba where kernels of this package, and of the user's own code, are kept; others are left to numba."""

    def __init__(self, function: Callable, file: str, root: Path):
        self._py_file = file  # for numba's warnings
        self._digest = source_digest(with_own=root != PACKAGE)
        place = Path(file).relative_to(root.parent).as_posix().replace("/", ".")
        self._place = f"{place}-{function.__code__.co_firstlineno}"

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> "SharedLocator | None":
        for root, parts in ((PACKAGE, KERNELS), (own.folder(), ("",))):
            if root and any(Path(py_file).is_relative_to(root / part) for part in parts):
                return cls(py_func, py_file, root)
        return None

    def get_cache_path(self) -> str:
        return str(cache_folder(self._digest))

    def get_source_stamp(self) -> str:
        return self._digest

    def get_disambiguator(self) -> str:
        return self._place


if SharedLocator not in caching.CacheImpl._locator_classes:
    caching.CacheImpl._locator_classes.insert(0, SharedLocator)

kernel = njit(nogil=True, cache=True, error_model="numpy")
"""Compiles a function that Python calls with numbers and arrays; it releases the GIL."""

inner_kernel = njit(nogil=True, cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Compiles a function that only kernels call: without what Python and C call it by, which takes a second each."""
