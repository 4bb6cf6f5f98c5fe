"""Reading samples from files in compiled code: each into the same memory, just before it is decoded.

So the memory stays in the cache of the core that decodes, and no thread only reads.
"""

import ctypes

import llvmlite.binding
import numpy as np
from numba import types

from formwork.kernels.compile import inner_kernel
from formwork.loading.status import FOLLOWED, OK, UNREADABLE

_pread_address = ctypes.cast(ctypes.CDLL(None).pread, ctypes.c_void_p).value
llvmlite.binding.add_symbol("pread", _pread_address)
_pread = types.ExternalFunction("pread", types.intp(types.int32, types.intp, types.uint64, types.int64))

LEAST = 1 << 16  # bytes of the memory for samples: zeros behind them are looked at in pieces of its size


@inner_kernel
def memory_for(sizes, start, stop):
    """(bytes,) uint8 memory for any one of samples start <= i < stop."""
    largest = LEAST
    for i in range(start, stop):
        largest = max(largest, sizes[i])
    return np.empty(largest, np.uint8)


@inner_kernel
def read_sample(descriptor, position, first, last, out):
    """Read bytes first <= i < last of a sample that begins at a position of an open file, to the same place of `out`.

    Returns:
        OK or UNREADABLE.
    """
    while first < last:
        count = _pread(descriptor, out.ctypes.data + first, last - first, position + first)
        if count <= 0:
            return UNREADABLE
        first += count
    return OK


@inner_kernel
def read_behind(descriptor, position, padding, memory):
    """OK where there are so many zeros at a position of an open file, otherwise FOLLOWED or UNREADABLE."""
    while padding > 0:
        piece = min(padding, len(memory))
        if read_sample(descriptor, position, 0, piece, memory) != OK:
            return UNREADABLE
        if not all_zero(memory, 0, piece):
            return FOLLOWED
        position += piece
        padding -= piece
    return OK


@inner_kernel
def all_zero(memory, start, stop):
    """Whether bytes start <= i < stop are zeros."""
    found = np.uint8(0)
    for i in range(start, stop):
        found |= memory[i]
    return found == 0
