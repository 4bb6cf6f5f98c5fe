"""Memory between two pages that must not be touched."""

import ctypes
import mmap

import numpy as np

PROT_NONE = 0  # of mprotect
PAGE = mmap.PAGESIZE


class Guarded:
    """Memory with a page before and a page after it that can be neither read nor written: who does is killed."""

    def __init__(self, size: int):
        """Of at least `size` bytes, in whole pages.

        Raises:
            OSError: memory cannot be protected here.
        """
        self.size = -(-max(size, 1) // PAGE) * PAGE
        whole = np.frombuffer(mmap.mmap(-1, self.size + 2 * PAGE), np.uint8)
        for place in (0, PAGE + self.size):
            address = ctypes.c_void_p(whole.ctypes.data + place)
            if ctypes.CDLL(None, use_errno=True).mprotect(address, ctypes.c_size_t(PAGE), PROT_NONE):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.memory = whole[PAGE : PAGE + self.size]

    def array(self, size: int, at_start: bool = False) -> np.ndarray:
        """(size,) uint8 that ends where the page after it begins, or begins where the page before it ends."""
        return self.memory[:size] if at_start else self.memory[self.size - size :]


class Guards:
    """Guarded memory by name, used again for the next array of that name."""

    def __init__(self) -> None:
        self._guarded: dict[str, Guarded] = {}

    def array(self, name: str, size: int, at_start: bool) -> np.ndarray:
        """See Guarded.array; what it holds is 0xA5 all over."""
        if name not in self._guarded or self._guarded[name].size < size:
            self._guarded[name] = Guarded(2 * size)
        array = self._guarded[name].array(size, at_start)
        array[:] = 0xA5
        return array

    def copy(self, name: str, values: np.ndarray, at_start: bool) -> np.ndarray:
        """The same values in guarded memory; (bytes,) uint8 of any length, or an array of any type."""
        array = self.array(name, values.nbytes, at_start).view(values.dtype).reshape(values.shape)
        array[...] = values
        return array
