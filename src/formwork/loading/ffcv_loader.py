"""FFCVDataLoader: batches from a beton, a file in FFCV's format.

A thread plans each batch and hands parts of it to worker threads, which run a compiled kernel on them. No code of the
package ffcv runs here. Its own loader compiles anew in each process, augments without a seed, overwrites batches in a
ring of buffers, and loses the errors of its workers.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Full, Queue

from formwork.loading.base import BaseLoader, Batch, LoaderConfig, SplitFiles
from formwork.loading.beton_batches import BetonBatches, BetonDataset
from formwork.loading.order import Position, samples_of
from formwork.loading.read_ahead import ReadAhead, one_ahead
from formwork.loading.worker_loader import WorkerLoader

POLL = 0.05  # seconds between looks at whether the consumer has left


class FFCVDataLoader(BaseLoader):
    """Batches of a split from its beton; see formwork.loading.base.Batch.

    Attributes: those of FFCV's own loader that have a meaning here.

    Raises:
        BetonError: the beton cannot be used; while iterating, a sample of it is damaged, or the file was changed.
        AugmentationError: while iterating, an operation fails.
    """

    name = "ffcv"
    batch_sampler = None  # Lightning looks for it, because a DataLoader has one

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        super().__init__()
        self.split = split
        self.config = config
        self.num_workers = max(config.num_workers, 1)
        self.made = BetonBatches(split, config, self.num_workers)
        self.source, self.beton, self.targets = self.made.source, self.made.beton, self.made.targets
        self.sampler = config.sampler(self.beton.storage_order, self.targets)
        self.processes: WorkerLoader | None = None
        if config.views.in_python:  # which hold the GIL, and draw from generators that threads share
            self.processes = WorkerLoader(
                BetonDataset(self.made), self.sampler, config.num_workers, config.batches_ahead, called="FFCVDataLoader"
            )
        self.fname = str(split.beton)
        self.batch_size = config.batch_size // config.world_size
        self.batches_ahead = config.batches_ahead
        self.seed = config.seed
        self.drop_last = config.drop_last
        self.distributed = config.world_size > 1

    def wait_for_kernels(self) -> None:
        self.made.batch_code.wait()

    def batches(self) -> Iterator[Batch]:
        """The batches of one epoch, made ahead by a thread that ends when this generator is closed or collected; where
        operations are in Python, by worker processes that stay for the next epoch."""
        if self.processes is not None:
            self.wait_for_kernels()  # once for all of them
            yield from self.processes.batches()
            return
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
                needed = self.made.needed(self.sampler.batches_from(start))
                batches = ahead.batches(needed, lambda batch: samples_of(batch.draws), start.batches)
                started = (self.made.start(pool, batch, used) for batch, used in batches)
                for complete in one_ahead(started):
                    if not _put(ready, complete(), stopped):
                        return
                ahead.finish(stopped)
            _put(ready, None, stopped)
        except BaseException as error:  # not swallowed: raised in the consumer
            _put(ready, error, stopped)


def _put(ready: Queue, item: object, stopped: threading.Event) -> bool:
    """Put an item into the queue when there is room; False if the consumer stopped before."""
    while not stopped.is_set():
        try:
            ready.put(item, timeout=POLL)
            return True
        except Full:
            continue
    return False
