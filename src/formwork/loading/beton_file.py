"""Reading the data of a beton's samples.

The file is read and not mapped: a map of a file that is cut short ends the interpreter with SIGBUS, and one that is
written to shows other images without a word. `python benchmarks/run.py reading` measures what the copies cost.
"""

import os
from pathlib import Path

import numpy as np

from formwork.beton.read import Beton, how_to_mend, open_beton, unreadable
from formwork.errors import BetonError
from formwork.loading.buffers import BufferPool
from formwork.loading.read import read
from formwork.loading.verification import Verification

SMALL = 1 << 28  # bytes; a file up to this size is read once, see docs/loading.md


class BetonFile:
    """An open beton. It stays the file that was opened: another file of its name changes nothing, and an edit of it is
    an error.

    Args:
        keep: leave what was read in the page cache, and a SMALL file in the memory of this process; otherwise memory in
            use does not grow with the file.
        verify: see formwork.loading.verification.

    Attributes:
        verification: which samples are still to be compared with their checksums.
        held: whether the file is read into memory, once, with the first samples.

    Raises:
        BetonError: see formwork.beton.read.open_beton.
    """

    def __init__(self, path: Path, keep: bool, verify: str):
        self.path = path
        self.keep = keep
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            open_beton(path)  # says what is wrong with it
            raise
        self.opened = os.fstat(self.descriptor)
        self.beton: Beton = open_beton(path)
        if _identity(os.stat(path)) != _identity(self.opened):
            raise self._changed()
        self.verification = Verification(self.beton, verify)
        self.buffers = BufferPool()
        self.held = keep and self.opened.st_size <= SMALL
        self.whole: np.ndarray | None = None

    def load(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(bytes,) uint8 memory, and the (B,) int64 offset in it of each sample's data.

        Raises:
            BetonError: the file changed since it was opened, or cannot be read; or there is something between samples.
        """
        if self.held:
            if self.whole is None:
                size, start = self.opened.st_size, np.zeros(1, np.int64)
                whole = self._read(start, np.array([size]), start, np.empty(size, np.uint8))
                pending = np.flatnonzero(self.verification.pending)
                self._check_padding(pending, whole, self.beton.offsets[pending])
                self.whole = whole
            elif self._is_changed():
                raise self._changed()
            return self.whole, self.beton.offsets[ids]
        pending = self.verification.pending[ids]
        sizes = self.beton.sizes[ids] + pending * self.beton.padding[ids]
        starts = np.cumsum(sizes) - sizes
        memory = self.buffers.take((int(sizes.sum()),), np.uint8)
        self._read(self.beton.offsets[ids], sizes, starts, memory)
        self._check_padding(ids[pending], memory, starts[pending])
        return memory, starts

    def _check_padding(self, ids: np.ndarray, memory: np.ndarray, starts: np.ndarray) -> None:
        """Raises BetonError: the zeros after one of these samples, whose data is in memory from (N,) starts on, are
        none. They fill up pages, and have no checksum."""
        padding = self.beton.padding[ids]
        for i in np.flatnonzero(padding).tolist():
            end = int(starts[i] + self.beton.sizes[ids[i]])
            if memory[end : end + padding[i]].any():
                raise BetonError(
                    f"{self.path} is damaged: there is something behind sample {ids[i]}, where nothing should be. "
                    f"{how_to_mend(self.path)}"
                )

    def _read(self, positions: np.ndarray, sizes: np.ndarray, starts: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """`memory`, with what is at (N,) positions of the file from (N,) starts on."""
        failed = read(self.descriptor, positions, sizes, np.argsort(positions), starts, memory)
        # After reading: what was read came from the file as it was opened, or this sees the difference.
        if self._is_changed():
            raise self._changed()
        if failed >= 0:
            self._explain(int(positions[failed]), int(sizes[failed]))
        if not self.keep and hasattr(os, "posix_fadvise"):  # not on macOS
            for position, size in zip(positions.tolist(), sizes.tolist(), strict=True):
                os.posix_fadvise(self.descriptor, position, size, os.POSIX_FADV_DONTNEED)
        return memory

    def _explain(self, position: int, size: int) -> None:
        """Read again what could not be read, with errors."""
        try:
            found = len(os.pread(self.descriptor, size, position))
        except OSError as error:
            raise unreadable(self.path, error) from error
        raise BetonError(f"{self.path} cannot be read: {found} of {size} bytes at {position}. Try again.")

    def _is_changed(self) -> bool:
        return _identity(os.fstat(self.descriptor)) != _identity(self.opened)

    def _changed(self) -> BetonError:
        return BetonError(
            f"{self.path} was changed while it was in use. Start again if that was meant. If not: "
            f"{how_to_mend(self.path)}"
        )

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
