"""From the indices of a batch to its images, read from a beton: by threads, or by one process alone."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from formwork.beton.faults import how_to_mend
from formwork.errors import BetonError
from formwork.escapes import printable
from formwork.loading.augmentation.mixup import with_partners
from formwork.loading.augmentation.views import Crops
from formwork.loading.base import CPU, Batch, LoaderConfig, SplitFiles
from formwork.loading.batch_code import BatchCode
from formwork.loading.batch_pixels import BatchPixels
from formwork.loading.beton_reader import BetonReader
from formwork.loading.buffers import BufferPool
from formwork.loading.dtypes import STORED
from formwork.loading.order import Indices, samples_of
from formwork.loading.pinned import pinned_bytes
from formwork.loading.read import Data
from formwork.loading.status import FAULTS, JPEG_WARNING, OK, UNREADABLE
from formwork.loading.targets import targets_of
from formwork.loading.worker_loader import BatchDataset

PARTS = 2  # of a batch for each worker: none waits for the slowest, because the next batch is begun by then
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


class BetonBatches:
    """Makes batches of a split from its beton.

    Args:
        workers: threads that share a batch.

    Raises:
        BetonError: the beton cannot be used; while a batch is made, a sample of it is damaged, or the file was changed.
        AugmentationError: while a batch is made, an operation fails.
    """

    def __init__(self, split: SplitFiles, config: LoaderConfig, workers: int):
        self.split = split
        self.config = config
        self.workers = workers
        self.source = BetonReader(split.beton, split.manifest, config.os_cache, config.verify, config.world_size)
        self.beton = self.source.beton
        self.targets = targets_of(split.manifest, config.class_names)
        self.buffers = BufferPool(pinned_bytes) if config.to_gpu else BufferPool()
        self.scratch = BufferPool()
        self.normal = config.normal
        self.batch_code = BatchCode(config)

    def needed(self, batches: Iterator[Indices]) -> Iterator[Needed]:
        """Which images each batch needs."""
        mixes = self.config.views.mixes
        for epoch, draws, partners in batches:
            needed, places = with_partners(draws, partners) if mixes else (draws, NOWHERE)
            yield Needed(epoch, needed, places)

    def start(self, pool: Executor, batch: Needed, used: Callable[[], None]) -> Callable[[], Batch]:
        """Hand the work on a batch to the workers.

        Args:
            used: called when no file is needed for it any more.

        Returns:
            A function that waits for the batch and returns it.
        """
        epoch, draws, places = batch
        views = self.config.views_at(epoch)
        code, beton, mixes = self.batch_code.module, self.beton, views.mixes
        ids = samples_of(draws)
        heights, widths, sizes, modes = beton.heights[ids], beton.widths[ids], beton.sizes[ids], beton.modes[ids]
        checks = self.source.verification.of(ids)
        plans = views.plans(epoch, draws, heights, widths)
        crops = Crops.of(plans)
        values, shares = views.mix(epoch, draws[: len(places)])
        data = self.source.data(ids)
        count = len(places) if mixes else len(ids)
        images = BatchPixels(self.buffers, views.sides, count, STORED[self.config.made])
        pixels = images  # where nothing is done to pixels, one pass does it all
        if mixes or (any(plan.values for plan in plans) and images.flat.dtype != np.uint8):
            pixels = BatchPixels(self.scratch, views.sides, len(ids), np.uint8)
        status = np.full(len(ids), 255, dtype=np.uint8)

        def run(start: int, stop: int) -> None:
            code.load(data, sizes, modes, heights, widths, checks, crops, self.normal, start, stop, pixels, status)
            for augmentation, plan, of_view in zip(views, plans, pixels.views, strict=True):
                for (name, operation), numbers in zip(augmentation.steps, plan.values, strict=True):
                    with augmentation.named(name):
                        code.change(operation, of_view[start:stop], numbers[start:stop])
            if pixels is not images and not mixes:
                finish(start, stop)

        def finish(start: int, stop: int) -> None:
            for source, target in zip(pixels.views, images.views, strict=True):
                code.finish(source, places, values, self.normal, start, stop, target)

        def complete() -> Batch:
            _wait(running)
            self.source.check(data)  # after reading: what was read came from the files as they were opened
            if status.any():
                self._explain(ids, sizes, data, status)
            used()
            self.source.verification.passed(ids)
            if mixes:
                _wait(self._in_parts(pool, finish, count))
                targets = self.targets.mixed(ids, places, shares)
            else:
                targets = self.targets.of(ids)
            made = images.images(several=len(views) > 1), torch.from_numpy(targets)
            if not self.config.weighted:
                return made
            weights = self.targets.mixed_weights(ids, places, shares) if mixes else self.targets.weights_of(ids)
            return *made, torch.from_numpy(weights)

        running = self._in_parts(pool, run, len(ids))
        return complete

    def _in_parts(self, pool: Executor, work: Callable[[int, int], None], count: int) -> list[Future]:
        """Submit work(start, stop) for parts of a batch of `count` images."""
        step = max(-(-count // (self.workers * PARTS)), 1)
        return [pool.submit(work, start, min(start + step, count)) for start in range(0, count, step)]

    def _vouched(self, sample: int, data: np.ndarray) -> bool:
        """Whether a sample has the checksum that it was written with: then what its decoder warns of is in the original
        file, too, and so are the pixels."""
        return self.beton.is_intact(sample, data)

    def _explain(self, ids: np.ndarray, sizes: np.ndarray, data: Data, status: np.ndarray) -> None:
        """Raises BetonError: what the status of a batch's samples says, unless it is nothing but warnings of JPEGs that
        are as they were written."""
        for i in np.flatnonzero(status == JPEG_WARNING).tolist():
            sample = data.of(i, int(sizes[i]))
            if sample is not None and self._vouched(int(ids[i]), sample):
                status[i] = OK
        if (unreadable := np.flatnonzero(status == UNREADABLE)).size:
            self.source.explain(int(ids[unreadable[0]]))
        if status.any():
            raise self._fault(ids, status)

    def _fault(self, ids: np.ndarray, status: np.ndarray) -> BetonError:
        first = int(np.flatnonzero(status)[0])
        sample = int(ids[first])
        path = self.beton.path_of(sample)
        return BetonError(
            f"{path}: sample {sample} ({printable(self.split.manifest.paths[sample])}) cannot be used: "
            f"{FAULTS[int(status[first])]}. {how_to_mend(path)}"
        )


class BetonDataset(BatchDataset):
    """Whole batches of a split from its beton, by Indices, each made by the process that asks for it.

    Args:
        made: what this process makes batches with. Another, which is forked or spawned, opens the beton itself.
    """

    def __init__(self, made: BetonBatches):
        self.split = made.split
        self.config = replace(made.config, dtype=made.config.made, device=CPU)  # a GPU is of one process alone
        self._own: tuple[int, BetonBatches] = os.getpid(), made

    def make(self, index: Indices) -> Batch:
        if self._own[0] != os.getpid():
            self._own = os.getpid(), BetonBatches(self.split, self.config, workers=1)
        batches = self._own[1]
        source = batches.source
        (batch,) = batches.needed(iter([index]))

        def used() -> None:
            if not source.keep:
                for sample in samples_of(batch.draws).tolist():
                    file, start = int(source.beton.file[sample]), int(source.beton.offsets[sample])
                    source.forget(file, start, start + int(source.beton.sizes[sample]))

        return batches.start(_Here(), batch, used)()

    def __getstate__(self) -> dict[str, Any]:
        """For a process that is spawned."""
        return {"split": self.split, "config": self.config, "_own": (0, None)}


class _Here(Executor):
    """Carries out at once what is submitted."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future:
        done: Future = Future()
        done.set_result(function(*arguments, **named))
        return done


def _wait(futures: list[Future]) -> None:
    for future in futures:
        future.result()
