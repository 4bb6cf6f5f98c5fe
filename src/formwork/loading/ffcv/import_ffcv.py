"""FFCV imported so that it starts at once and leaves other compiled code alone: without compiling, without setting
thread counts, and without changing numba's types."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba.typed
import numpy as np
from numba import types

from formwork.loading.ffcv.thread_counts import thread_counts_kept


@contextmanager
def _plain_dictionaries() -> Iterator[None]:
    """FFCV makes a numba.typed.Dict of two entries when it is imported, which compiles for four seconds. It only looks
    them up in Python, so a plain dictionary does, in FFCV's own loader and writer, too."""
    typed = numba.typed.Dict
    numba.typed.Dict = dict
    try:
        yield
    finally:
        numba.typed.Dict = typed


with thread_counts_kept(), _plain_dictionaries():
    from ffcv.loader import Loader  # noqa: F401  (for those who need it: from here)
    from ffcv.memory_managers import OSCacheManager, ProcessCacheManager
    from ffcv.pipeline.compiler import Compiler


def _read_only(dtype: types.Type, dimensions: int = 1) -> types.Array:
    return types.Array(dtype, dimensions, "C", readonly=True)


def _os_cache_types(manager: OSCacheManager) -> types.Tuple:
    return types.Tuple([_read_only(types.uint8), types.uint64[::1], types.uint64[::1]])


def _compile_os_cache_reader(manager: OSCacheManager) -> Callable:
    def read(address: Any, memory: Any) -> Any:
        size = memory[2][np.searchsorted(memory[1], address)]
        return memory[0][address : address + size]

    return Compiler.compile(read, _read_only(types.uint8)(types.uint64, manager.state_type))


def _process_cache_types(manager: ProcessCacheManager) -> types.Tuple:
    return types.Tuple(
        [_read_only(types.uint8, 2), _read_only(types.uint64), _read_only(types.uint64), _read_only(types.uint32)]
    )


# FFCV makes read-only types by setting `mutable` of the type of all such arrays to False. Numba keeps one object for
# each type: the signatures of every kernel that was compiled before change with it, and numba does not find them again,
# or takes memory that kernels write to for read-only.
OSCacheManager.state_type = property(_os_cache_types)
OSCacheManager.compile_reader = _compile_os_cache_reader
ProcessCacheManager.state_type = property(_process_cache_types)
