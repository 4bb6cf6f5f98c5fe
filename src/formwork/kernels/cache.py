"""Where compiled kernels are kept: one folder of a user for each state of the sources, not one for each copy of them.

Importing this module tells numba so; it must be imported before the first kernel is defined.
"""

import atexit
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

from numba.core import caching, config

from formwork import own
from formwork.code import KERNELS, PACKAGE, code_digest

KEPT = 30 * 24 * 3600  # seconds for which the kernels of sources that nobody uses any more are kept


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
    is; where it cannot be written, a temporary folder of this process."""
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
    """Tells numba where to keep the kernels of this package and of src/own; it keeps all others as usual."""

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
