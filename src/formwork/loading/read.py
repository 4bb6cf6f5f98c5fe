"""Where the data of samples is, in memory or in files; and reading parts of files, in Python.

What is read by kernels is read by formwork.loading.read_kernel.
"""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from formwork.loading.status import FOLLOWED, OK, UNREADABLE

PIECE = 1 << 20  # bytes of zeros that are looked at at once
NO_FILES = np.empty(0, np.int32)
NO_MEMORY = np.empty(0, np.uint8)


class Data(NamedTuple):
    """Where the data of a batch of B samples is.

    Attributes:
        memory: (bytes,) uint8, which holds it; empty where it is in files.
        offsets: (B,) int64, where each sample begins, in memory or in its file.
        descriptors: (B,) int32, the open file that each is in; empty where it is in memory.
        files: the positions, in the beton, of the files that are to be as they were once all is read.
    """

    memory: np.ndarray
    offsets: np.ndarray
    descriptors: np.ndarray = NO_FILES
    files: Sequence[int] = ()

    def of(self, i: int, size: int) -> np.ndarray | None:
        """(size,) uint8, the data of sample i of the batch; None where it cannot be read."""
        if not len(self.descriptors):
            return self.memory[self.offsets[i] : self.offsets[i] + size]
        data = np.empty(size, np.uint8)
        return data if read(int(self.descriptors[i]), int(self.offsets[i]), data) else None

    def behind(self, i: int, size: int, padding: int) -> int:
        """OK where so many zeros follow the data of sample i, otherwise FOLLOWED or UNREADABLE."""
        end = int(self.offsets[i]) + size
        if not len(self.descriptors):
            return FOLLOWED if self.memory[end : end + padding].any() else OK
        for start in range(end, end + padding, PIECE):
            found = np.empty(min(PIECE, end + padding - start), np.uint8)
            if not read(int(self.descriptors[i]), start, found):
                return UNREADABLE
            if found.any():
                return FOLLOWED
        return OK


def read(descriptor: int, position: int, out: np.ndarray) -> bool:
    """Read what is at a position of an open file into all of (bytes,) uint8 memory; whether that was possible."""
    view, done = out.data, 0
    while done < len(out):
        try:
            count = os.preadv(descriptor, [view[done:]], position + done)
        except OSError:
            return False
        if count == 0:
            return False
        done += count
    return True
