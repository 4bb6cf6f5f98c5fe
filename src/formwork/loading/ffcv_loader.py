"""FFCVDataLoader: batches from a beton.

A thread plans each batch and hands parts of it to worker threads, which run a compiled kernel on them. What FFCV's own
loader does in its place (compiled anew in each process, augmentation without a seed, a ring of buffers that overwrites
batches, workers whose errors nobody hears) is replaced; see formwork.loading.kernels.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Full, Queue

import numpy as np
import torch

from formwork.beton.read import Beton, check_beton, open_beton
from formwork.errors import AugmentationError, BetonError
from formwork.loading import kernels
from formwork.loading.common import Batch, Options, Split, WaitClock
from formwork.loading.threads import thread_counts_kept

with thread_counts_kept():
    from ffcv.loader import Loader

PARTS = 4  # of a batch for each worker: small enough that none waits long for the slowest
# As torch aligns its own memory: how a convolution rounds depends on it, and a run is to be the same each time.
ALIGNMENT = 64  # bytes
POLL = 0.05  # seconds between looks at whether the consumer has left

FAULTS = {
    kernels.OUTSIDE_FILE: "its data lies outside the file",
    kernels.UNKNOWN_MODE: "its storage mode is unknown",
    kernels.WRONG_SIZE: "its size does not fit its pixels",
    kernels.BAD_JPEG: "its JPEG data is damaged",
    kernels.JPEG_WARNING: "its JPEG data is damaged",
}


class FFCVDataLoader(Loader):
    """Batches of a split from its beton; see formwork.loading.common.Batch.

    Raises:
        BetonError: the beton cannot be used; while iterating, a sample of it is damaged.
        AugmentationError: the augmentation list holds an operation that has no FFCV form.
    """

    name = "ffcv"
    batch_sampler = None  # Lightning looks for what a DataLoader has

    def __init__(self, split: Split, options: Options):
        if options.augmentation.torchvision:
            raise AugmentationError(
                f"augment.{split.name}: {options.augmentation.torchvision[0][0]} has no FFCV form. Remove it from the "
                "list, or set data.use_ffcv: false."
            )
        self.split = split
        self.options = options
        self.beton = open_beton(split.beton)
        check_beton(self.beton, split.manifest)
        self.sampler = options.sampler(self.beton.storage_order)
        self.clock = WaitClock(options.timesteps)
        self.source = MappedFile(self.beton) if options.os_cache else ReadFile(self.beton)
        self.buffers = BufferPool()
        shift, scale = options.shift_and_scale
        self.table = (np.arange(256, dtype=np.float32)[:, None] - shift) * scale
        with thread_counts_kept():
            super().__init__(
                str(split.beton),
                batch_size=options.batch_size // options.world_size,
                num_workers=1,
                seed=options.seed,
                pipelines=dict.fromkeys(self.beton.field_names),  # none of FFCV's: theirs is replaced by our kernel
                drop_last=options.drop_last,
                batches_ahead=options.batches_ahead,
            )
        self.num_workers = max(options.num_workers, 1)

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        return self.clock.watch(self._batches())

    def filter(self, field_name: str, condition: Callable) -> Loader:
        raise TypeError("FFCVDataLoader has the samples of its manifest; make another manifest to have fewer.")

    def _batches(self) -> Iterator[Batch]:
        """The batches of one epoch, made ahead by a thread that ends when this generator is closed or collected."""
        ready: Queue[Batch | BaseException | None] = Queue(self.batches_ahead)
        left = threading.Event()
        thread = threading.Thread(target=self._produce, args=(ready, left), name="FFCVDataLoader", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            left.set()
            thread.join()

    def _produce(self, ready: Queue, left: threading.Event) -> None:
        """Put batches, then None or the error that ended them. Whatever happens here, the consumer hears of it."""
        try:
            with ThreadPoolExecutor(self.num_workers, thread_name_prefix="FFCVDataLoader") as pool:
                for epoch, ids in self.sampler:
                    if not _put(ready, self._make(pool, epoch, ids), left):
                        return
            _put(ready, None, left)
        except BaseException as error:  # not swallowed: raised in the consumer
            _put(ready, error, left)

    def _make(self, pool: ThreadPoolExecutor, epoch: int, ids: np.ndarray) -> Batch:
        beton, count, side = self.beton, len(ids), self.options.augmentation.resolution
        heights, widths, sizes, modes = beton.heights[ids], beton.widths[ids], beton.sizes[ids], beton.modes[ids]
        plan = self.options.augmentation.plan(epoch, ids, heights, widths)
        memory, offsets = self.source.load(ids)
        images = self.buffers.take((count, side, side, 3))
        status = np.full(count, 255, dtype=np.uint8)

        def run(start: int, stop: int) -> None:
            kernels.load(
                memory, offsets, sizes, modes, heights, widths,
                plan.box, plan.window, plan.shift, plan.flip, self.table, start, stop, images, status,
            )  # fmt: skip

        step = -(-count // (self.num_workers * PARTS))
        for future in [pool.submit(run, start, min(start + step, count)) for start in range(0, count, step)]:
            future.result()
        for i in np.flatnonzero(status == kernels.JPEG_WARNING):
            if self._vouched(ids[i], memory[offsets[i] : offsets[i] + sizes[i]]):
                status[i] = kernels.OK
        if status.any():
            raise self._fault(ids, status)
        # A copy of the labels, because a batch is its consumer's to keep and to change.
        return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(beton.labels[ids])

    def _vouched(self, sample: int, data: np.ndarray) -> bool:
        """Whether these are, by their checksum, the bytes of a file that was decoded when its dataset was linked: what
        the decoder says of them, it said then, and Pillow's pixels are the same."""
        return self.beton.provenance is not None and self.beton.provenance.is_intact(sample, data)

    def _fault(self, ids: np.ndarray, status: np.ndarray) -> BetonError:
        first = int(np.flatnonzero(status)[0])
        sample = int(ids[first])
        return BetonError(
            f"{self.beton.path}: sample {sample} ({self.split.manifest.rows[sample].path}) cannot be used: "
            f"{FAULTS[int(status[first])]}. Run `dvc checkout --force {self.beton.path}` or `dvc repro -f convert`."
        )


class MappedFile:
    """A beton in the page cache, through a map of the whole file."""

    def __init__(self, beton: Beton):
        self.beton = beton
        self.memory = np.memmap(beton.path, dtype=np.uint8, mode="r").view(np.ndarray)

    def load(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Memory, and the offset in it of each sample's data."""
        return self.memory, self.beton.offsets[ids]


class ReadFile:
    """A beton read batch by batch: memory does not grow with the file."""

    def __init__(self, beton: Beton):
        self.beton = beton
        self.descriptor = os.open(beton.path, os.O_RDONLY)

    def load(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Memory, and the offset in it of each sample's data.

        Raises:
            BetonError: the file became shorter since it was opened.
        """
        sizes = self.beton.sizes[ids]
        offsets = np.cumsum(sizes) - sizes
        memory = np.empty(sizes.sum(), dtype=np.uint8)
        view = memoryview(memory)
        for i in np.argsort(self.beton.offsets[ids]):  # forwards through the file
            part = view[offsets[i] : offsets[i] + sizes[i]]
            if os.preadv(self.descriptor, [part], int(self.beton.offsets[ids[i]])) != len(part):
                raise BetonError(
                    f"{self.beton.path} was cut short while it was being read. Run `dvc checkout --force "
                    f"{self.beton.path}`."
                )
        memory.setflags(write=False)  # as a MappedFile is: one type of array, so one compiled kernel
        return memory, offsets

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class BufferPool:
    """Image buffers that are used again once nobody holds the batch made in them.

    Fresh memory would cost as much as decoding: the system clears every page of it. A tensor made by torch.from_numpy,
    and any view of it, keeps a reference to the array, so the array's reference count tells whether a batch is alive.
    """

    def __init__(self) -> None:
        self.buffers = [np.empty(0, dtype=np.float32)]
        self.unused = self._references(0)

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of float32 with undefined content."""
        size = int(np.prod(shape)) + ALIGNMENT // 4
        for i in range(len(self.buffers)):
            if self.buffers[i].size >= size and self._references(i) == self.unused:
                return _aligned(self.buffers[i], shape)
        self.buffers.append(np.empty(size, dtype=np.float32))
        return _aligned(self.buffers[-1], shape)

    def _references(self, i: int) -> int:
        return sys.getrefcount(self.buffers[i])


def _aligned(buffer: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    start = -buffer.ctypes.data % ALIGNMENT // 4
    return buffer[start : start + int(np.prod(shape))].reshape(shape)


def _put(ready: Queue, item: object, left: threading.Event) -> bool:
    """Whether the consumer was still there to take it."""
    while not left.is_set():
        try:
            ready.put(item, timeout=POLL)
            return True
        except Full:
            continue
    return False
