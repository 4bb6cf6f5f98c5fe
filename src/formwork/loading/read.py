"""Read parts of files into memory, without the GIL between them."""

import os
from collections.abc import Callable

import numpy as np

from formwork.kernels.compile import either


def _kernel() -> Callable[..., int]:
    from formwork.loading.read_kernel import read_parts

    return read_parts


def _read(
    descriptors: np.ndarray,
    positions: np.ndarray,
    sizes: np.ndarray,
    order: np.ndarray,
    starts: np.ndarray,
    memory: np.ndarray,
) -> int:
    """Read part i from positions[i] of an open file to starts[i] of memory, sizes[i] bytes, for each i of `order`.

    Args:
        descriptors: (B,) int32, of the file of each part.
        positions, sizes, starts: (B,) int64. order: (M,) int64.
        memory: (bytes,) uint8.

    Returns:
        The first i that could not be read whole, or -1.
    """
    view = memory.data
    for i in order.tolist():
        position, start, end = int(positions[i]), int(starts[i]), int(starts[i] + sizes[i])
        while start < end:
            try:
                count = os.preadv(int(descriptors[i]), [view[start:end]], position)
            except OSError:
                return i
            if count == 0:
                return i
            start, position = start + count, position + count
    return -1


read = either(_kernel, _read)
