"""The files of a beton, and where the data of its samples is: in them, or in memory.

Files are read and not mapped: a map of a file that is cut short ends the interpreter with SIGBUS, and one that is
written to shows other images without a word. `python benchmarks/run.py reading` measures what the copies cost.
"""

import os
import resource
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.faults import how_to_mend, unreadable
from formwork.beton.read import identity, open_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest
from formwork.loading.buffers import BufferPool
from formwork.loading.read import NO_MEMORY, Data, read
from formwork.loading.verification import Verification
from formwork.system import memory

SMALL = 1 << 28  # bytes; a beton up to this size is held in memory
FEW_PIXELS = 64 * 64  # of an image, on average: it is made in little more time than one call to the system takes
SHARE_OF_MEMORY = 4  # one part of so many of the available memory is for a beton of such images
SHARE_OF_FILES = 4  # one part of so many of the files that a process may open are for the parts of one beton
LOOKED_AT = 8  # files of a beton in memory, with each batch
PIECE = 1 << 17  # bytes that Linux reads ahead at once where nobody has set another limit, and cuts longer requests to
ADVANCE = 1 << 22  # bytes of what is to be held that are read at once
CAN_ADVISE = hasattr(os, "posix_fadvise")  # not on macOS
CLOSED = -1


class BetonReader:
    """An open beton. It stays what was opened: another file of its name changes nothing, and an edit of it is an error.
    Of more parts than may be open at once, another file in the place of one that was closed is an error, too.

    Args:
        keep: leave what was read in the page cache, and a SMALL beton in the memory of this process, or one of images
            of FEW_PIXELS that fits into its share; otherwise memory in use does not grow with the beton.
        verify: see formwork.loading.verification.
        ranks: processes of this machine that open the beton, and may hold it.

    Attributes:
        beton: sample i is row i of the manifest.
        verification: which samples are still to be compared with their checksums.
        held: whether the beton is to be held in memory, see `hold`.
        whole: (bytes,) uint8, all its files one behind the other, once they are there.
        places: (N,) int64, where each sample begins in `whole`.

    Raises:
        BetonError: see formwork.beton.read.open_beton and Beton.of_manifest.
    """

    def __init__(self, path: Path | Sequence[Path], manifest: Manifest, keep: bool, verify: str, ranks: int = 1):
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
        sizes = np.array([file.size for file in self.files])
        self.starts = np.cumsum(sizes) - sizes  # of each file, where all are in one piece
        self.places = self.beton.offsets + self.starts[self.beton.file]
        self.held = keep and len(self.files) <= self.most and self._may_be_held(ranks)
        self.whole: np.ndarray | None = None
        self.partial: np.ndarray | None = None  # the first `done` bytes of it
        self.done = 0
        self.holding = threading.Lock()

    def _may_be_held(self, ranks: int) -> bool:
        beton = self.beton
        if beton.size <= SMALL:
            return True
        if (beton.heights * beton.widths).mean() > FEW_PIXELS:
            return False
        return beton.size <= memory()[1] // (SHARE_OF_MEMORY * ranks)

    @property
    def reads_files(self) -> bool:
        """Whether samples are read from files that stay open."""
        return self.whole is None and len(self.files) <= self.most

    def data(self, ids: np.ndarray) -> Data:
        """Where the data of (B,) samples is. It is good once all of it is used and `check` has found nothing.

        Raises:
            BetonError: as `check`.
        """
        whole = self.whole
        if whole is not None:  # no file is needed any more: some are looked at each time, in turn
            count, self.reads = len(self.files), self.reads + LOOKED_AT
            files = tuple((self.reads + i) % count for i in range(LOOKED_AT)) if count > LOOKED_AT else range(count)
            return Data(whole, self.places[ids], files=files)
        of_samples = self.beton.file[ids]
        if len(self.files) > self.most:
            return self._copied(ids, of_samples)
        files = tuple(np.unique(of_samples).tolist()) if len(self.files) > 1 else (0,)
        return Data(NO_MEMORY, self.beton.offsets[ids], self.descriptors[of_samples], files)

    def check(self, data: Data) -> None:
        """Raises BetonError: a file that this is from changed since it was opened."""
        self._check(data.files)

    def hold(self, stopped: threading.Event) -> None:
        """Read into memory what is to be held, until `stopped`; the next call goes on from there. Batches that are made
        meanwhile come from the files.

        Raises:
            BetonError: a file cannot be read, or changed since it was opened.
        """
        if not self.held or self.whole is not None or not self.holding.acquire(blocking=False):
            return  # there, or another thread is at it
        try:
            if self.partial is None:
                self.partial = np.empty(self.beton.size, np.uint8)
            for file, start in enumerate(self.starts.tolist()):
                size = self.files[file].size
                while self.done < start + size:
                    if stopped.is_set():
                        return
                    position = self.done - start
                    count = min(ADVANCE, size - position)
                    self.ask_for(file, position, min(position + 2 * ADVANCE, size), stopped)
                    self._read(file, position, self.partial[self.done : self.done + count])
                    self.done += count
            self._check(range(len(self.files)))
            self.whole, self.partial = self.partial, None
        finally:
            self.holding.release()

    def ask_for(self, file: int, start: int, stop: int, stopped: threading.Event) -> None:
        """Have the system read bytes start <= i < stop of an open file into the page cache, if it can do that, and
        return before they are there, or once `stopped`."""
        if not CAN_ADVISE:
            return
        descriptor = int(self.descriptors[file])
        for position in range(start, stop, PIECE):
            if stopped.is_set():
                return
            os.posix_fadvise(descriptor, position, min(PIECE, stop - position), os.POSIX_FADV_WILLNEED)

    def forget(self, file: int, start: int, stop: int) -> None:
        """Take what lies between two places of an open file out of the page cache."""
        if CAN_ADVISE:
            os.posix_fadvise(int(self.descriptors[file]), start, stop - start, os.POSIX_FADV_DONTNEED)

    def is_cached(self, file: int, position: int) -> bool:
        """Whether a byte of an open file is in the page cache; False where the system does not tell."""
        try:
            return os.preadv(int(self.descriptors[file]), [bytearray(1)], position, os.RWF_NOWAIT) == 1
        except (AttributeError, OSError):  # no Linux; not there, or a file system that cannot tell
            return False

    def explain(self, sample: int) -> None:
        """Read again what could not be read. Raises BetonError: why it could not."""
        size = int(self.beton.sizes[sample] + self.verification.padding[sample] * self.verification.pending[sample])
        self._read(int(self.beton.file[sample]), int(self.beton.offsets[sample]), np.empty(size, np.uint8))
        raise BetonError(f"{self.beton.path_of(sample)} could not be read for a moment. Try again.")

    def _copied(self, ids: np.ndarray, files: np.ndarray) -> Data:
        """What Data says of samples that lie in more files than may be open: they are read one after the other."""
        beton = self.beton
        positions, sizes = beton.offsets[ids], beton.sizes[ids] + self.verification.of(ids).padding
        starts = np.cumsum(sizes) - sizes
        memory = self.buffers.take((int(sizes.sum()),), np.uint8)
        order = np.argsort(positions + self.starts[files])  # by file, and by place in it
        edges = np.flatnonzero(np.diff(files[order])) + 1
        with self.lock:  # what one thread reads from, another would close
            for part in np.split(order, edges) if len(order) else []:
                file = int(files[part[0]])
                self._make_open(file)
                for i in part.tolist():
                    position, start, size = int(positions[i]), int(starts[i]), int(sizes[i])
                    self._read(file, position, memory[start : start + size])
                    if not self.keep:
                        self.forget(file, position, position + size)
                self._check([file])
        return Data(memory, starts)

    def _read(self, file: int, position: int, out: np.ndarray) -> None:
        """Read what is at a position of an open file into all of `out`. Raises BetonError: it cannot be read."""
        if read(int(self.descriptors[file]), position, out):
            return
        self._check([file])  # which says more
        path = self.files[file].path
        try:
            found = len(os.pread(int(self.descriptors[file]), len(out), position))
        except OSError as error:
            raise unreadable(path, error) from error
        raise BetonError(f"{path} cannot be read: {found} of {len(out)} bytes at {position}. Try again.")

    def _make_open(self, file: int) -> None:
        """Open a file, and close the one that was not used for longest where there are too many then."""
        self.reads += 1
        self.used[file] = self.reads
        if self.descriptors[file] != CLOSED:
            return
        is_open = np.flatnonzero(self.descriptors != CLOSED)
        if len(is_open) >= self.most:
            oldest = is_open[np.argmin(self.used[is_open])]
            os.close(self.descriptors[oldest])
            self.descriptors[oldest] = CLOSED
        self._open(file)

    def _open(self, file: int) -> None:
        path = self.files[file].path
        try:
            self.descriptors[file] = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise unreadable(path, error) from error
        if CAN_ADVISE:  # the system must not guess what is next, and read what is not: it is told
            os.posix_fadvise(int(self.descriptors[file]), 0, 0, os.POSIX_FADV_RANDOM)
        self._check([file])

    def _check(self, files: Iterable[int]) -> None:
        for file in files:
            known, descriptor = self.files[file], int(self.descriptors[file])
            if descriptor != CLOSED and identity(os.fstat(descriptor)) != known.identity:
                raise BetonError(
                    f"{known.path} was changed while it was in use. Start again if that was meant. If not: "
                    f"{how_to_mend(known.path)}"
                )

    def __del__(self) -> None:
        for descriptor in getattr(self, "descriptors", np.empty(0, np.int32)).tolist():
            if descriptor != CLOSED:
                os.close(descriptor)
