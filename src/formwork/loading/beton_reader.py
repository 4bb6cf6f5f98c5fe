"""Reading the data of a beton's samples.

Files are read and not mapped: a map of a file that is cut short ends the interpreter with SIGBUS, and one that is
written to shows other images without a word. `python benchmarks/run.py reading` measures what the copies cost.
"""

import os
import resource
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.faults import how_to_mend, unreadable
from formwork.beton.read import identity, open_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest
from formwork.loading.buffers import BufferPool
from formwork.loading.read import read
from formwork.loading.verification import Verification

SMALL = 1 << 28  # bytes; a beton up to this size is read once, see docs/loading.md
SHARE_OF_FILES = 4  # one part of so many of the files that a process may open are for the parts of one beton
LOOKED_AT = 8  # files of a beton in memory, before each batch
CLOSED = -1


class BetonReader:
    """An open beton. It stays what was opened: another file of its name changes nothing, and an edit of it is an error.
    Of more parts than may be open at once, another file in the place of one that was closed is an error, too.

    Args:
        keep: leave what was read in the page cache, and a SMALL beton in the memory of this process; otherwise memory
            in use does not grow with the beton.
        verify: see formwork.loading.verification.

    Attributes:
        beton: sample i is row i of the manifest.
        verification: which samples are still to be compared with their checksums.
        held: whether the beton is read into memory, once, with the first samples.

    Raises:
        BetonError: see formwork.beton.read.open_beton and Beton.of_manifest.
    """

    def __init__(self, path: Path | Sequence[Path], manifest: Manifest, keep: bool, verify: str):
        opened = open_beton(path)
        self.files = opened.files
        self.most = max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE_OF_FILES, 1)
        self.descriptors = np.full(len(self.files), CLOSED, np.int32)
        self.used = np.zeros(len(self.files), np.int64)  # when each file was last read from, by `reads`
        self.reads = 0
        self.lock = threading.Lock()
        for file in range(min(len(self.files), self.most)):
            self._open(file)
        self.beton: Beton = opened.of_manifest(manifest)
        self.keep = keep
        self.verification = Verification(self.beton, verify)
        self.buffers = BufferPool()
        self.held = keep and opened.size <= SMALL
        self.whole: np.ndarray | None = None
        self.sizes = np.array([file.size for file in self.files])
        self.starts = np.cumsum(self.sizes) - self.sizes  # of each file, where all are held in one piece

    def load(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(bytes,) uint8 memory, and the (B,) int64 offset in it of each sample's data.

        Raises:
            BetonError: a file changed since it was opened, or cannot be read; or there is something between samples.
        """
        beton = self.beton
        if self.held:
            if self.whole is None:
                self.whole = self._hold()
            else:  # nothing of it is needed any more: some are looked at each time, in turn
                count, self.reads = len(self.files), self.reads + LOOKED_AT
                self._check_unchanged([(self.reads + i) % count for i in range(min(LOOKED_AT, count))])
            return self.whole, self._held_at(ids)
        pending = self.verification.pending[ids]
        sizes = beton.sizes[ids] + pending * beton.padding[ids]
        starts = np.cumsum(sizes) - sizes
        memory = self.buffers.take((int(sizes.sum()),), np.uint8)
        self._read(beton.file[ids], beton.offsets[ids], sizes, starts, memory)
        self._check_padding(ids[pending], memory, starts[pending])
        return memory, starts

    def _hold(self) -> np.ndarray:
        """All files in memory, one behind the other."""
        every = np.arange(len(self.files), dtype=np.int32)
        whole = np.empty(int(self.sizes.sum()), np.uint8)
        self._read(every, np.zeros(len(every), np.int64), self.sizes, self.starts, whole)
        pending = np.flatnonzero(self.verification.pending)
        self._check_padding(pending, whole, self._held_at(pending))
        return whole

    def _held_at(self, ids: np.ndarray) -> np.ndarray:
        offsets = self.beton.offsets[ids]
        return offsets if len(self.files) == 1 else offsets + self.starts[self.beton.file[ids]]

    def _check_padding(self, ids: np.ndarray, memory: np.ndarray, starts: np.ndarray) -> None:
        """Raises BetonError: the zeros after one of these samples, whose data is in memory from (N,) starts on, are
        none. They fill up pages, and have no checksum."""
        padding = self.beton.padding[ids]
        for i in np.flatnonzero(padding).tolist():
            end = int(starts[i] + self.beton.sizes[ids[i]])
            if memory[end : end + padding[i]].any():
                path = self.beton.path_of(ids[i])
                raise BetonError(
                    f"{path} is damaged: there is something behind sample {ids[i]}, where nothing should be. "
                    f"{how_to_mend(path)}"
                )

    def _read(
        self, files: np.ndarray, positions: np.ndarray, sizes: np.ndarray, starts: np.ndarray, memory: np.ndarray
    ) -> None:
        """Read what is at (N,) positions of (N,) files into memory, from (N,) starts on."""
        if len(self.files) == 1:
            self._read_open(files, positions, sizes, np.argsort(positions), starts, memory, [0])
            return
        order = np.argsort(positions + self.starts[files])  # by file, and by place in it
        ordered = files[order]
        edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        needed = [*ordered[:1].tolist(), *ordered[edges].tolist()]
        if len(self.files) <= self.most:
            self._read_open(files, positions, sizes, order, starts, memory, needed)
            return
        ends = [*edges[self.most - 1 :: self.most].tolist(), len(order)]
        with self.lock:  # what one thread reads from, another would close
            begin = 0
            for place, end in enumerate(ends):
                together = needed[place * self.most : (place + 1) * self.most]
                self._make_open(together)
                self._read_open(files, positions, sizes, order[begin:end], starts, memory, together)
                begin = end

    def _read_open(
        self,
        files: np.ndarray,
        positions: np.ndarray,
        sizes: np.ndarray,
        order: np.ndarray,
        starts: np.ndarray,
        memory: np.ndarray,
        open_files: list[int],
    ) -> None:
        """Read those of `order`, which are in open files."""
        failed = read(self.descriptors[files], positions, sizes, order, starts, memory)
        # After reading: what was read came from the files as they were opened, or this sees the difference.
        self._check_unchanged(open_files)
        if failed >= 0:
            self._explain(int(files[failed]), int(positions[failed]), int(sizes[failed]))
        if not self.keep and hasattr(os, "posix_fadvise"):  # not on macOS
            descriptors = self.descriptors[files]
            for i in order.tolist():
                os.posix_fadvise(int(descriptors[i]), int(positions[i]), int(sizes[i]), os.POSIX_FADV_DONTNEED)

    def _make_open(self, files: list[int]) -> None:
        """Open files, and close those that were not used for longest where there are too many then."""
        self.reads += 1
        self.used[files] = self.reads
        closed = [file for file in files if self.descriptors[file] == CLOSED]
        if not closed:
            return
        is_open = np.flatnonzero(self.descriptors != CLOSED)
        if (surplus := len(is_open) + len(closed) - self.most) > 0:
            for file in is_open[np.argsort(self.used[is_open], kind="stable")][:surplus].tolist():
                os.close(self.descriptors[file])
                self.descriptors[file] = CLOSED
        for file in closed:
            self._open(file)

    def _open(self, file: int) -> None:
        path = self.files[file].path
        try:
            self.descriptors[file] = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise unreadable(path, error) from error
        self._check_unchanged([file])

    def _explain(self, file: int, position: int, size: int) -> None:
        """Read again what could not be read, with errors."""
        path = self.files[file].path
        try:
            found = len(os.pread(int(self.descriptors[file]), size, position))
        except OSError as error:
            raise unreadable(path, error) from error
        raise BetonError(f"{path} cannot be read: {found} of {size} bytes at {position}. Try again.")

    def _check_unchanged(self, files: list[int]) -> None:
        """Raises BetonError: one of these files is open, and not as it was when its tables were read."""
        for file, descriptor in zip(files, self.descriptors[files].tolist(), strict=True):
            known = self.files[file]
            if descriptor != CLOSED and identity(os.fstat(descriptor)) != known.identity:
                raise BetonError(
                    f"{known.path} was changed while it was in use. Start again if that was meant. If not: "
                    f"{how_to_mend(known.path)}"
                )

    def __del__(self) -> None:
        for descriptor in getattr(self, "descriptors", np.empty(0, np.int32)).tolist():
            if descriptor != CLOSED:
                os.close(descriptor)
