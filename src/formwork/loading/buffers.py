"""Memory that is used again."""

import os
import sys
import threading
import weakref
from collections.abc import Callable

import numpy as np

# As torch aligns its own memory: how a convolution rounds depends on it, and a run is to be the same each time.
ALIGNMENT = 64  # bytes
RESERVE = 1.2  # a new buffer is this much larger than needed: the next batch of images of other sizes fits, too


def _pageable_bytes(size: int) -> np.ndarray:
    return np.empty(size, np.uint8)


class BufferPool:
    """Buffers that are used again once nobody holds an array or tensor in them.

    Fresh memory would cost as much as decoding: the system clears every page of it. A tensor made by torch.from_numpy,
    and any view of it, keeps a reference to the array, so the array's reference count tells whether a batch is alive.

    Args:
        allocate: gives (size,) uint8 of fresh memory.
    """

    def __init__(self, allocate: Callable[[int], np.ndarray] = _pageable_bytes) -> None:
        self.allocate = allocate
        self.buffers = [np.empty(0, dtype=np.uint8)]
        self.unused = self._references(0)
        self.lock = threading.Lock()
        _pools.add(self)

    def take(self, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """An array with undefined content."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        with self.lock:
            free = [i for i in range(len(self.buffers)) if self._references(i) == self.unused]
            for i in free:
                if self.buffers[i].size >= size + ALIGNMENT:
                    return _part(self.buffers[i], size, shape, dtype)
            for i in reversed(free):  # too small from now on
                del self.buffers[i]
            self.buffers.append(self.allocate(int(size * RESERVE) + ALIGNMENT))
            return _part(self.buffers[-1], size, shape, dtype)

    def _references(self, i: int) -> int:
        return sys.getrefcount(self.buffers[i])


_pools: weakref.WeakSet[BufferPool] = weakref.WeakSet()


def _free_locks() -> None:
    """In a child that was forked: a thread of its parent may have held one at that moment, and there is none here to
    give it back."""
    for pool in _pools:
        pool.lock = threading.Lock()


os.register_at_fork(after_in_child=_free_locks)


def _part(buffer: np.ndarray, size: int, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    start = -buffer.ctypes.data % ALIGNMENT
    return buffer[start : start + size].view(dtype).reshape(shape)
