"""FFCVDataLoader: batches from a beton.

A thread plans each batch and hands parts of it to worker threads, which run a compiled kernel on them. What FFCV's own
loader does in its place (compiled anew in each process, augmentation without a seed, a ring of buffers that overwrites
batches, workers whose errors nobody hears) is replaced; see formwork.loading.batch_kernels.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from typing import TypeVar

import numpy as np
import torch

from formwork.beton.read import check_beton
from formwork.errors import AugmentationError, BetonError
from formwork.loading import batch_kernels as kernels
from formwork.loading.augmentation.mixup import mixed_labels, with_partners
from formwork.loading.base import BaseLoader, Batch, LoaderConfig, SplitFiles
from formwork.loading.beton_file import BetonFile
from formwork.loading.buffers import BufferPool
from formwork.loading.dtypes import STORED, as_tensor
from formwork.loading.order import Indices

PARTS = 2  # of a batch for each worker: none waits for the slowest, because the next batch is begun by then
POLL = 0.05  # seconds between looks at whether the consumer has left
Item = TypeVar("Item")
NOWHERE = np.empty(0, np.int64)  # places and shares where nothing is mixed

FAULTS = {
    kernels.OUTSIDE_FILE: "its data lies outside the file",
    kernels.UNKNOWN_MODE: "its storage mode is unknown",
    kernels.WRONG_SIZE: "its size does not fit its pixels",
    kernels.BAD_JPEG: "its JPEG data is damaged",
    kernels.JPEG_WARNING: "its JPEG data is damaged",
}


class FFCVDataLoader(BaseLoader):
    """Batches of a split from its beton; see formwork.loading.base.Batch.

    No code of the package ffcv runs here: of FFCV's loader it has the attributes that have a meaning.

    Raises:
        BetonError: the beton cannot be used; while iterating, a sample of it is damaged, or the file was changed.
        AugmentationError: the augmentation list holds an operation that has no FFCV form.
    """

    name = "ffcv"
    batch_sampler = None  # Lightning looks for what a DataLoader has

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        if config.augmentation.torchvision:
            raise AugmentationError(
                f"augment.{split.name}: {config.augmentation.torchvision[0][0]} has no FFCV form. Remove it from the "
                "list, or set data.use_ffcv: false."
            )
        super().__init__()
        self.split = split
        self.config = config
        self.source = BetonFile(split.beton, keep=config.os_cache)
        self.beton = self.source.beton
        check_beton(self.beton, split.manifest)
        self.sampler = config.sampler(self.beton.storage_order)
        self.buffers, self.scratch = BufferPool(), BufferPool()
        self.normal = config.normal
        self.fname = str(split.beton)
        self.batch_size = config.batch_size // config.world_size
        self.batches_ahead = config.batches_ahead
        self.seed = config.seed
        self.num_workers = max(config.num_workers, 1)
        self.drop_last = config.drop_last
        self.distributed = config.world_size > 1

    def batches(self) -> Iterator[Batch]:
        """The batches of one epoch, made ahead by a thread that ends when this generator is closed or collected."""
        ready: Queue[Batch | BaseException | None] = Queue(self.batches_ahead)
        left = threading.Event()
        arguments = (self.sampler.batches_from(self.sampler.begin()), ready, left)
        thread = threading.Thread(target=self._produce, args=arguments, name="FFCVDataLoader", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            left.set()
            thread.join()

    def _produce(self, indices: Iterator[Indices], ready: Queue, left: threading.Event) -> None:
        """Put batches, then None or the error that ended them. Whatever happens here, the consumer hears of it."""
        try:
            with (
                ThreadPoolExecutor(1, thread_name_prefix="FFCVDataLoader reads") as reader,
                ThreadPoolExecutor(self.num_workers, thread_name_prefix="FFCVDataLoader") as pool,
            ):
                # A batch is read while the one before it is made, and that one is begun before the one before it is
                # waited for: no thread waits for a batch to be planned, or for the slowest of the others.
                started = (self._start(pool, *read) for read in _one_ahead(self._read(reader, indices)))
                for complete in _one_ahead(started):
                    if not _put(ready, complete(), left):
                        return
            _put(ready, None, left)
        except BaseException as error:  # not swallowed: raised in the consumer
            _put(ready, error, left)

    def _read(self, reader: ThreadPoolExecutor, indices: Iterator[Indices]) -> Iterator[tuple]:
        """Arguments of _start."""
        mixes = self.config.augmentation.mixup is not None
        for epoch, ids, partners in indices:
            needed, places = with_partners(ids, partners) if mixes else (ids, NOWHERE)
            yield epoch, needed, places, reader.submit(self.source.load, needed)

    def _start(
        self, pool: ThreadPoolExecutor, epoch: int, ids: np.ndarray, places: np.ndarray, data: Future
    ) -> Callable[[], Batch]:
        """Give the work on a batch to the workers.

        Args:
            ids: (N,) of all images that are needed. places: (B,) of the partners among them, if images are mixed.

        Returns:
            A call that waits for the batch.
        """
        augmentation = self.config.augmentation_at(epoch)
        beton, side, mixes = self.beton, augmentation.resolution, augmentation.mixup is not None
        heights, widths, sizes, modes = beton.heights[ids], beton.widths[ids], beton.sizes[ids], beton.modes[ids]
        plan = augmentation.plan(epoch, ids, heights, widths)
        shares = augmentation.shares(epoch, ids[: len(places)]) if mixes else NOWHERE
        memory, offsets = data.result()
        count = len(places) if mixes else len(ids)
        images = self.buffers.take((count, side, side, 3), STORED[self.config.dtype])
        pixels = images  # where nothing is done to pixels, one pass does it all
        if mixes or (augmentation.pixel and images.dtype != np.uint8):
            pixels = self.scratch.take((len(ids), side, side, 3), np.uint8)
        status = np.full(len(ids), 255, dtype=np.uint8)

        def run(start: int, stop: int) -> None:
            kernels.load(
                memory, offsets, sizes, modes, heights, widths,
                plan.box, plan.window, plan.shift, plan.flip, plan.fill, self.normal, start, stop, pixels, status,
            )  # fmt: skip
            for (_, operation), values in zip(augmentation.pixel, plan.values, strict=True):
                operation.kernel(pixels[start:stop], values[start:stop])
            if pixels is not images and not mixes:
                finish(start, stop)

        def finish(start: int, stop: int) -> None:
            kernels.finish(pixels, places, shares, self.normal, start, stop, images)

        def complete() -> Batch:
            _wait(running)
            for i in np.flatnonzero(status == kernels.JPEG_WARNING).tolist():
                if self._vouched(int(ids[i]), memory[offsets[i] : offsets[i] + sizes[i]]):
                    status[i] = kernels.OK
            if status.any():
                raise self._fault(ids, status)
            labels = beton.labels[ids]  # a copy, because a batch is its consumer's to keep and to change
            if mixes:
                _wait(self._in_parts(pool, finish, count))
                labels = mixed_labels(labels, places, shares, self.config.classes)
            else:
                labels = torch.from_numpy(labels)
            return as_tensor(images, self.config.dtype).permute(0, 3, 1, 2), labels

        running = self._in_parts(pool, run, len(ids))
        return complete

    def _in_parts(self, pool: ThreadPoolExecutor, work: Callable[[int, int], None], count: int) -> list[Future]:
        """work(start, stop) for parts of a batch of `count` images."""
        step = max(-(-count // (self.num_workers * PARTS)), 1)
        return [pool.submit(work, start, min(start + step, count)) for start in range(0, count, step)]

    def _vouched(self, sample: int, data: np.ndarray) -> bool:
        """Whether a sample holds what was written: then what its decoder warns of stands in the original, too, and the
        pixels are those that it has."""
        return self.beton.provenance is not None and self.beton.provenance.is_intact(sample, data)

    def _fault(self, ids: np.ndarray, status: np.ndarray) -> BetonError:
        first = int(np.flatnonzero(status)[0])
        sample = int(ids[first])
        return BetonError(
            f"{self.beton.path}: sample {sample} ({self.split.manifest.rows[sample].path}) cannot be used: "
            f"{FAULTS[int(status[first])]}. Run `dvc checkout --force {self.beton.path}` or `dvc repro -f convert`."
        )


def _one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The items, each when the one after it has been made."""
    before: list[Item] = []
    for item in items:
        yield from before
        before = [item]
    yield from before


def _wait(futures: list[Future]) -> None:
    for future in futures:
        future.result()


def _put(ready: Queue, item: object, left: threading.Event) -> bool:
    """Whether the consumer was still there to take it."""
    while not left.is_set():
        try:
            ready.put(item, timeout=POLL)
            return True
        except Full:
            continue
    return False
