"""WorkerLoader: a DataLoader of PyTorch's whose dataset makes whole batches, with words for what becomes of workers."""

import errno
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from traceback import walk_tb
from types import TracebackType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from formwork import limits
from formwork.errors import FormworkError
from formwork.signals import leave_to_parent
from formwork.text import count

NOT_SENT = 71  # exit status of a worker, the system's own for an error of the system


class BatchDataset(Dataset):
    """Whole batches, by what a sampler gives. A FormworkError is returned and raised by WorkerLoader: raised here,
    PyTorch would wrap a worker's traceback around it."""

    def make(self, index: Any) -> Any:
        """A batch."""
        raise NotImplementedError

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.make(index)
        except FormworkError as error:
            return error
        except Exception as error:
            if message := limits.explain(error):
                return FormworkError(message)
            raise


class WorkerLoader(DataLoader):
    """Batches of a dataset, each made by one of several processes.

    Args:
        workers: processes; 0: batches are made by this one.
        batches_ahead: prepared in advance, by all of them together.
        called: what errors call it.
    """

    def __init__(
        self,
        dataset: BatchDataset,
        sampler: Iterable,
        workers: int,
        batches_ahead: int,
        called: str = "the PyTorch DataLoader",
    ):
        super().__init__(
            dataset,
            batch_size=None,  # the dataset makes whole batches
            sampler=sampler,
            num_workers=workers,
            prefetch_factor=max(-(-batches_ahead // workers), 1) if workers else None,
            persistent_workers=workers > 0,
            worker_init_fn=_start_worker if workers else None,
            collate_fn=_as_it_is,
            generator=torch.Generator(),  # for the seeds of workers, which nobody uses: not from the training's own
        )
        self.called = called

    def batches(self) -> Iterator[Any]:
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
            raise FormworkError(f"A worker process of {self.called} {_end_of(killed[0])}") from error

    def _start(self) -> Iterator[Any]:
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
            raise FormworkError(f"{workers} of {self.called} cannot be started: {message}") from error

    def check_worker_number_rationality(self) -> None:
        """Two lines of PyTorch's for each loader, where the doctor has one: not said."""


def _as_it_is(batch: Any) -> Any:
    """In place of PyTorch's own function, which makes lists of tuples."""
    return batch


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
