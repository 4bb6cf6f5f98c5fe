"""FFCVDataLoader: batches from a beton, a file in FFCV's format.

A thread plans each batch and hands parts of it to worker threads, which run a compiled kernel on them. No code of the
package ffcv runs here. Its own loader compiles anew in each process, augments without a seed, overwrites batches in a
ring of buffers, and loses the errors of its workers.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch

from formwork.beton.faults import how_to_mend
from formwork.errors import AugmentationError, BetonError
from formwork.escapes import printable
from formwork.loading.augmentation.mixup import NO_MIX, with_partners
from formwork.loading.base import BaseLoader, Batch, LoaderConfig, SplitFiles
from formwork.loading.batch_code import BatchCode
from formwork.loading.beton_reader import BetonReader
from formwork.loading.buffers import BufferPool
from formwork.loading.dtypes import STORED, as_tensor
from formwork.loading.order import Position, samples_of
from formwork.loading.pinned import pinned_bytes
from formwork.loading.read_ahead import ReadAhead, one_ahead
from formwork.loading.status import FAULTS, JPEG_WARNING, OK, UNREADABLE
from formwork.loading.targets import targets_of

PARTS = 2  # of a batch for each worker: none waits for the slowest, because the next batch is begun by then
POLL = 0.05  # seconds between looks at whether the consumer has left
NOWHERE = np.empty(0, np.int64)  # places where nothing is mixed


class Needed(NamedTuple):
    """What a batch is made of.

    Attributes:
        draws: (N,) int64 of all images that are needed, see formwork.loading.order.sample_order.
        places: (B,) int64 of the partners among them, if images are mixed.
    """

    epoch: int
    draws: np.ndarray
    places: np.ndarray


class FFCVDataLoader(BaseLoader):
    """Batches of a split from its beton; see formwork.loading.base.Batch.

    Attributes: those of FFCV's own loader that have a meaning here.

    Raises:
        BetonError: the beton cannot be used; while iterating, a sample of it is damaged, or the file was changed.
        AugmentationError: the augmentation list holds an operation that has no FFCV form; while iterating, one fails.
    """

    name = "ffcv"
    batch_sampler = None  # Lightning looks for it, because a DataLoader has one

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        if config.augmentation.torchvision:
            raise AugmentationError(
                f"{config.augmentation.key}: {config.augmentation.torchvision[0][0]} has no FFCV form. Remove it from "
                "the list, or set data.use_ffcv: false."
            )
        super().__init__()
        self.split = split
        self.config = config
        self.source = BetonReader(split.beton, split.manifest, config.os_cache, config.verify, config.world_size)
        self.beton = self.source.beton
        self.targets = targets_of(split.manifest, config.class_names)
        self.sampler = config.sampler(self.beton.storage_order, self.targets)
        self.buffers = BufferPool(pinned_bytes) if config.to_gpu else BufferPool()
        self.scratch = BufferPool()
        self.normal = config.normal
        self.batch_code = BatchCode(config)
        self.fname = str(split.beton)
        self.batch_size = config.batch_size // config.world_size
        self.batches_ahead = config.batches_ahead
        self.seed = config.seed
        self.num_workers = max(config.num_workers, 1)
        self.drop_last = config.drop_last
        self.distributed = config.world_size > 1

    @property
    def code(self) -> ModuleType:
        """The module that makes the next batch: see formwork.loading.batch_code."""
        return self.batch_code.module

    def wait_for_kernels(self) -> None:
        self.batch_code.wait()

    def batches(self) -> Iterator[Batch]:
        """The batches of one epoch, made ahead by a thread that ends when this generator is closed or collected."""
        ready: Queue[Batch | BaseException | None] = Queue(self.batches_ahead)
        stopped = threading.Event()
        arguments = (self.sampler.begin(), ready, stopped)
        thread = threading.Thread(target=self._produce, args=arguments, name="FFCVDataLoader", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stopped.set()
            thread.join()

    def _produce(self, start: Position, ready: Queue, stopped: threading.Event) -> None:
        """Put batches, then None, or the error that ended them: whatever happens here, the consumer hears of it.

        Args:
            stopped: set by the consumer when it takes no more.
        """
        try:
            with (
                ReadAhead(self.source, self.sampler.window) as ahead,
                ThreadPoolExecutor(self.num_workers, thread_name_prefix="FFCVDataLoader") as pool,
            ):
                # A batch is begun before the one before it is waited for: no worker waits for one to be planned, or
                # for the slowest of the others.
                batches = ahead.batches(self._needed(start), lambda batch: samples_of(batch.draws), start.batches)
                started = (self._start(pool, batch, used) for batch, used in batches)
                for complete in one_ahead(started):
                    if not _put(ready, complete(), stopped):
                        return
                ahead.finish(stopped)
            _put(ready, None, stopped)
        except BaseException as error:  # not swallowed: raised in the consumer
            _put(ready, error, stopped)

    def _needed(self, start: Position) -> Iterator[Needed]:
        """Which images each batch needs, from a place in the run on."""
        mixes = self.config.augmentation.mixing is not None
        for epoch, draws, partners in self.sampler.batches_from(start):
            needed, places = with_partners(draws, partners) if mixes else (draws, NOWHERE)
            yield Needed(epoch, needed, places)

    def _start(self, pool: ThreadPoolExecutor, batch: Needed, used: Callable[[], None]) -> Callable[[], Batch]:
        """Hand the work on a batch to the workers.

        Args:
            used: called when no file is needed for it any more.

        Returns:
            A function that waits for the batch and returns it.
        """
        epoch, draws, places = batch
        augmentation = self.config.augmentation_at(epoch)
        code, beton, side, mixes = self.code, self.beton, augmentation.resolution, augmentation.mixing is not None
        ids = samples_of(draws)
        heights, widths, sizes, modes = beton.heights[ids], beton.widths[ids], beton.sizes[ids], beton.modes[ids]
        checks = self.source.verification.of(ids)
        plan = augmentation.plan(epoch, draws, heights, widths)
        values, shares = augmentation.mix(epoch, draws[: len(places)]) if mixes else NO_MIX
        data = self.source.data(ids)
        count = len(places) if mixes else len(ids)
        images = self.buffers.take((count, side, side, 3), STORED[self.config.made])
        pixels = images  # where nothing is done to pixels, one pass does it all
        if mixes or (augmentation.pixel and images.dtype != np.uint8):
            pixels = self.scratch.take((len(ids), side, side, 3), np.uint8)
        status = np.full(len(ids), 255, dtype=np.uint8)

        def run(start: int, stop: int) -> None:
            code.load(data, sizes, modes, heights, widths, checks, plan, self.normal, start, stop, pixels, status)
            for (name, operation), numbers in zip(augmentation.pixel, plan.values, strict=True):
                with augmentation.named(name):
                    code.change(operation, pixels[start:stop], numbers[start:stop])
            if pixels is not images and not mixes:
                finish(start, stop)

        def finish(start: int, stop: int) -> None:
            code.finish(pixels, places, values, self.normal, start, stop, images)

        def complete() -> Batch:
            _wait(running)
            self.source.check(data)  # after reading: what was read came from the files as they were opened
            for i in np.flatnonzero(status == JPEG_WARNING).tolist():
                sample = data.of(i, int(sizes[i]))
                if sample is not None and self._vouched(int(ids[i]), sample):
                    status[i] = OK
            if (unreadable := np.flatnonzero(status == UNREADABLE)).size:
                self.source.explain(int(ids[unreadable[0]]))
            used()
            if status.any():
                raise self._fault(ids, status)
            self.source.verification.passed(ids)
            if mixes:
                _wait(self._in_parts(pool, finish, count))
                targets = self.targets.mixed(ids, places, shares)
            else:
                targets = self.targets.of(ids)
            batch = as_tensor(images).permute(0, 3, 1, 2), torch.from_numpy(targets)
            if not self.config.weighted:
                return batch
            weights = self.targets.mixed_weights(ids, places, shares) if mixes else self.targets.weights_of(ids)
            return *batch, torch.from_numpy(weights)

        running = self._in_parts(pool, run, len(ids))
        return complete

    def _in_parts(self, pool: ThreadPoolExecutor, work: Callable[[int, int], None], count: int) -> list[Future]:
        """Submit work(start, stop) for parts of a batch of `count` images."""
        step = max(-(-count // (self.num_workers * PARTS)), 1)
        return [pool.submit(work, start, min(start + step, count)) for start in range(0, count, step)]

    def _vouched(self, sample: int, data: np.ndarray) -> bool:
        """Whether a sample has the checksum that it was written with: then what its decoder warns of is in the original
        file, too, and so are the pixels."""
        return self.beton.is_intact(sample, data)

    def _fault(self, ids: np.ndarray, status: np.ndarray) -> BetonError:
        first = int(np.flatnonzero(status)[0])
        sample = int(ids[first])
        path = self.beton.path_of(sample)
        return BetonError(
            f"{path}: sample {sample} ({printable(self.split.manifest.paths[sample])}) cannot be used: "
            f"{FAULTS[int(status[first])]}. {how_to_mend(path)}"
        )


def _wait(futures: list[Future]) -> None:
    for future in futures:
        future.result()


def _put(ready: Queue, item: object, stopped: threading.Event) -> bool:
    """Put an item into the queue when there is room; False if the consumer stopped before."""
    while not stopped.is_set():
        try:
            ready.put(item, timeout=POLL)
            return True
        except Full:
            continue
    return False
