"""Kernels compiled once for all workspaces of a user, rather than once for each path that a copy of them lies at.

Import this before a module's first `@njit(cache=True)`; `kernel` and `inner_kernel` are such decorators.
"""

import atexit
import hashlib
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

PACKAGE = Path(__file__).parent
# Of the package: all code that a kernel can contain.
SOURCES = ("beton", "jpeg", "loading", "resize.py", "turbojpeg.py", "vectors.py")
KEPT = 30 * 24 * 3600  # seconds that the kernels of sources which nobody uses any more are kept


def code_digest(parts: tuple[str, ...]) -> str:
    """SHA-256 of the Python files of this package that `parts` name, files or folders."""
    digest = hashlib.sha256()
    for path in sorted(path for part in parts for path in (PACKAGE / part, *(PACKAGE / part).rglob("*.py"))):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def source_digest() -> str:
    """Of all code that a kernel can contain: numba itself looks at the one file that a function is in, though the
    functions that it calls, and constants, are compiled into it."""
    return code_digest(SOURCES)[:32]


@cache
def cache_folder() -> Path:
    """Where this user's kernels are kept: a folder for each state of the sources, whatever clone or temporary copy of
    the repository they are in. Where that cannot be written, a folder of this process alone."""
    base = config.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    kept = Path(base) / "formwork" / "kernels"
    folder = kept / source_digest()
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
    """Tells numba where the kernels of this package are kept; others are left to numba's own locators."""

    def __init__(self, function: Callable, file: str):
        self._py_file = file  # for numba's warnings
        self._place = (
            f"{Path(file).relative_to(PACKAGE).as_posix().replace('/', '.')}-{function.__code__.co_firstlineno}"
        )

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> "SharedLocator | None":
        inside = any(Path(py_file).is_relative_to(PACKAGE / source) for source in SOURCES)
        return cls(py_func, py_file) if inside else None

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return source_digest()

    def get_disambiguator(self) -> str:
        return self._place


if SharedLocator not in caching.CacheImpl._locator_classes:
    caching.CacheImpl._locator_classes.insert(0, SharedLocator)

kernel = njit(nogil=True, cache=True, error_model="numpy")
"""Compiles a function that Python calls with numbers and arrays, without its lock."""

inner_kernel = njit(nogil=True, cache=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""Compiles a function that only kernels call: without what Python and C call it by, which takes a second each."""
