"""The compiled form of formwork.loading.read."""

import ctypes

import llvmlite.binding
from numba import types

from formwork.kernels.compile import kernel

_pread_address = ctypes.cast(ctypes.CDLL(None).pread, ctypes.c_void_p).value
llvmlite.binding.add_symbol("pread", _pread_address)
_pread = types.ExternalFunction("pread", types.intp(types.int32, types.intp, types.uint64, types.int64))


@kernel
def read_parts(descriptors, positions, sizes, order, starts, memory):
    for i in order:
        done = 0
        while done < sizes[i]:
            count = _pread(descriptors[i], memory.ctypes.data + starts[i] + done, sizes[i] - done, positions[i] + done)
            if count <= 0:
                return i
            done += count
    return -1
