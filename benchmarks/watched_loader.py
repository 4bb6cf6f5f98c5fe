"""FFCVDataLoader, watched: what an epoch of it takes, and what its workers do all the while."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from benchmarks.contenders import formwork_ffcv
from benchmarks.loader_process import Job, Loader

NANO = 1e-9


def whole(job: Job) -> Callable[[], Loader]:
    """An epoch's figures are those of the process, by getrusage: see Whole."""
    make = formwork_ffcv(job)
    return lambda: Whole(make())


def timed(job: Job) -> Callable[[], Loader]:
    """An epoch's figures are those of the compiled code in the workers: see Timed."""
    make = formwork_ffcv(job)
    return lambda: Timed(make())


class Whole:
    """A loader that tells what its last epoch took.

    Attributes:
        figures: cpu_seconds, of all threads; waits and preemptions, how often one gave up its core, for a lock or a
            queue, or lost it to another; page_faults.
    """

    def __init__(self, loader: Any):
        loader.wait_for_kernels()
        self.loader = loader
        self.figures: dict[str, float] = {}

    def __iter__(self) -> Iterator:
        before, start = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
        yield from self.loader
        after, end = resource.getrusage(resource.RUSAGE_SELF), time.process_time()
        self.figures = {
            "cpu_seconds": end - start,  # getrusage's are less exact
            "waits": after.ru_nvcsw - before.ru_nvcsw,
            "preemptions": after.ru_nivcsw - before.ru_nivcsw,
            "page_faults": after.ru_minflt - before.ru_minflt,
        }


class Timed(Whole):
    """FFCVDataLoader whose calls of compiled code are timed.

    Attributes:
        figures: those of Whole; seconds of the epoch; and of all calls of compiled code together, seconds, their
            computing (CPU time), and their queueing for a core, where the system tells it. What is left of their
            seconds they wait for a lock, which is the GIL: they hold none, and take it when they return.
    """

    def __init__(self, loader: Any):
        super().__init__(loader)
        self.code = TimedCode(loader.made.batch_code.module)
        loader.made.batch_code = SimpleNamespace(module=self.code)

    def __iter__(self) -> Iterator:
        self.code.clear()
        start = time.perf_counter()
        yield from super().__iter__()
        self.figures |= {"seconds": time.perf_counter() - start, **self.code.sums()}


class TimedCode:
    """A module of functions, each call of which is timed."""

    def __init__(self, code: Any):
        self.code = code
        self.clear()

    def clear(self) -> None:
        self.calls: list[tuple[float, float, float]] = []  # of all threads; appending is atomic

    def sums(self) -> dict[str, float]:
        called, computing, queueing = (sum(part) for part in zip(*self.calls, strict=True))
        return {"called_seconds": called, "computing_seconds": computing, "queueing_seconds": queueing}

    def __getattr__(self, name: str) -> Callable[..., None]:
        function = getattr(self.code, name)

        def call(*arguments: Any) -> None:
            queued, start, computed = queueing(), time.perf_counter(), time.thread_time()
            function(*arguments)
            computed, seconds, queued = time.thread_time() - computed, time.perf_counter() - start, queueing() - queued
            self.calls.append((seconds, computed, min(queued, seconds - computed)))  # some before and after the call

        return call


def queueing() -> float:
    """Seconds that this thread was ready to run and had no core; 0 where the system does not tell."""
    try:
        statistics = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
    except OSError:  # not Linux, or without statistics of its scheduler
        return 0.0
    try:
        return int(os.read(statistics, 64).split()[1]) * NANO
    finally:
        os.close(statistics)
