"""PyTorchDataLoader: the same batches from the original images."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from traceback import walk_tb
from types import TracebackType

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from formwork import limits
from formwork.errors import AugmentationError, DatasetError, FormworkError
from formwork.escapes import printable
from formwork.images.containers import image_source
from formwork.images.pixels import read_rgb
from formwork.interim.tree import ensure_tree, tree_path
from formwork.limits import unreadable
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.base import AugmentPlan
from formwork.loading.augmentation.mixup import blended, with_partners
from formwork.loading.base import BaseLoader, Batch, LoaderConfig, SplitFiles
from formwork.loading.dtypes import normalise
from formwork.loading.order import REPEAT, Indices, samples_of
from formwork.loading.targets import targets_of
from formwork.loading.transforms import carry_out, channels_last
from formwork.signals import leave_to_parent
from formwork.text import count

NOT_SENT = 71  # exit status of a worker, the system's own for an error of the system


class TreeDataset(Dataset):
    """Whole batches from the interim tree of a split, by Indices."""

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        self.manifest = split.manifest
        self.targets = targets_of(split.manifest, config.class_names)
        self.config = config
        self.raw = split.raw
        self.tree = ensure_tree(split.manifest, split.raw)
        self.sizes = np.stack([split.manifest.numbers("height"), split.manifest.numbers("width")], axis=1)

    def __getitem__(self, index: Indices) -> Batch | FormworkError:
        try:
            return self._batch(*index)
        except FormworkError as error:
            return error  # raised by the loader: raised here, PyTorch would wrap a worker's traceback around it
        except Exception as error:
            if message := limits.explain(error):
                return FormworkError(message)
            raise

    def _batch(self, epoch: int, draws: np.ndarray, partners: np.ndarray) -> Batch:
        augmentation, weighted = self.config.augmentation_at(epoch), self.config.weighted
        if augmentation.mixup:
            needed, places = with_partners(draws, partners)
            shares = augmentation.shares(epoch, draws)
            pixels = torch.stack(self._images(augmentation, epoch, needed))
            images = list(blended(pixels[: len(places)], pixels[torch.from_numpy(places)], shares))
            mix = samples_of(needed), places, shares
            numbers = [self.targets.mixed(*mix), *([self.targets.mixed_weights(*mix)] if weighted else [])]
        else:
            images, ids = self._images(augmentation, epoch, draws), samples_of(draws)
            numbers = [self.targets.of(ids), *([self.targets.weights_of(ids)] if weighted else [])]
        dtype = getattr(torch, self.config.dtype)
        if dtype != torch.uint8:  # each on its own, while it is in the processor's cache
            images = [normalise(image, self.config.normal).to(dtype) for image in images]
        return channels_last(images, dtype, augmentation.resolution), *map(torch.from_numpy, numbers)

    def _images(self, augmentation: Augmentation, epoch: int, draws: np.ndarray) -> list[torch.Tensor]:
        """The training images of a batch, each (3, S, S) uint8."""
        heights, widths = self.sizes[samples_of(draws)].T
        plan = augmentation.plan(epoch, draws, heights, widths)
        return [self._image(augmentation, epoch, int(draw), plan, i) for i, draw in enumerate(draws)]

    def _image(self, augmentation: Augmentation, epoch: int, draw: int, plan: AugmentPlan, i: int) -> torch.Tensor:
        """(3, S, S) uint8."""
        sample = draw % REPEAT
        span = self.manifest.span(sample)
        in_tree = None if self.tree is None or span else self.tree / tree_path(self.manifest, sample)
        path = in_tree or self.raw / self.manifest.paths[sample]
        try:
            image = read_rgb(in_tree or image_source(self.raw, self.manifest.paths[sample], span))
        except (OSError, MemoryError) as error:
            advice = "Run `dvc repro -f link` to list all bad images, or `dvc pull` where the originals are missing."
            raise DatasetError(unreadable(f"Sample {sample}, {printable(path)}", error, advice)) from error
        if image.size != (self.sizes[sample, 1], self.sizes[sample, 0]):
            raise DatasetError(
                f"Sample {sample}, {printable(path)}, changed after its manifest was made. Run `dvc repro`."
            )
        try:
            return carry_out(augmentation, plan, i, image, epoch, draw)
        except AugmentationError as error:
            raise AugmentationError(f"Sample {sample}, {printable(path)}: {error}") from error


class PyTorchDataLoader(BaseLoader, DataLoader):  # type: ignore[misc]  # iterates as a BaseLoader
    """Batches of a split from its original images; see formwork.loading.base.Batch.

    Raises:
        DatasetError: the original images are missing; while iterating, one cannot be read.
    """

    name = "pytorch"

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        BaseLoader.__init__(self)
        self.config = config
        workers = config.num_workers
        dataset = TreeDataset(split, config)
        DataLoader.__init__(
            self,
            dataset,
            batch_size=None,  # the dataset makes whole batches
            sampler=config.sampler(split.manifest.storage_order, dataset.targets),
            num_workers=workers,
            prefetch_factor=max(-(-config.batches_ahead // workers), 1) if workers else None,
            persistent_workers=workers > 0,
            worker_init_fn=_start_worker if workers else None,
            generator=torch.Generator(),  # for the seeds of workers, which nobody uses: not from the training's own
        )

    def batches(self) -> Iterator[Batch]:
        iterator = self._start()
        try:
            for batch in iterator:
                if isinstance(batch, FormworkError):
                    raise batch
                yield batch
        except (RuntimeError, EOFError, OSError) as error:  # what PyTorch raises depends on when it notices
            killed = [code for code in map(_exit_code, getattr(iterator, "_workers", [])) if code is not None]
            if not killed:
                raise
            with suppress(RuntimeError):  # PyTorch hears of the death late: then it would interrupt anything with it
                iterator._shutdown_workers()  # type: ignore[attr-defined]  # of the iterator with workers
            raise FormworkError(f"A worker process of the PyTorch DataLoader {_end_of(killed[0])}") from error

    def _start(self) -> Iterator[Batch]:
        """Start the workers, unless they run already."""
        if self.num_workers:
            limits.open_more_files()
        try:
            return DataLoader.__iter__(self)
        except (RuntimeError, OSError) as error:
            _put_away(error)
            message = limits.explain(error)
            if message is None:
                raise
            workers = count(self.num_workers, "worker process", "worker processes")
            raise FormworkError(f"{workers} of the PyTorch DataLoader cannot be started: {message}") from error

    def check_worker_number_rationality(self) -> None:
        """Two lines of PyTorch's for each loader, where the doctor has one: not said."""


def _put_away(error: BaseException) -> None:
    """End the workers of an iterator that could not be made to its end; PyTorch would complain when it is deleted."""
    for frame, _ in walk_tb(error.__traceback__):
        unfinished = frame.f_locals.get("self")
        if isinstance(unfinished, _MultiProcessingDataLoaderIter):
            for worker in getattr(unfinished, "_workers", []):
                worker.kill()
                worker.join()
            unfinished._shutdown = True


def _start_worker(worker: int) -> None:
    """End a worker when its parent does; and when it cannot hand over a batch, for which the training would wait."""
    leave_to_parent()
    Queue._on_queue_feeder_error = staticmethod(lambda error, batch: os._exit(NOT_SENT))  # type: ignore[attr-defined]
    sys.excepthook = _end_worker


def _end_worker(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends a thread of a worker, such as the one that hands over open files."""
    if not limits.explain(error):
        sys.__excepthook__(kind, error, trace)
    os._exit(NOT_SENT)


def _exit_code(worker: BaseProcess) -> int | None:
    """None for a worker that runs. A connection to one that was killed breaks before its end is known: wait for it."""
    worker.join(timeout=0.5)
    return worker.exitcode


def _end_of(code: int) -> str:
    """How a worker ended, and what to do."""
    if code == NOT_SENT:
        return f"cannot hand over a batch: too many files are open, or /dev/shm is full. {limits.ADVICE[errno.EMFILE]}"
    return limits.worker_killed("Bus error" if code == -signal.SIGBUS else f"exit code {code}")
