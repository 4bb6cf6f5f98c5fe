"""What FFCVDataLoader reads from a cold disk, over what the disk can read."""

import argparse
import mmap
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.contenders import formwork_parts
from benchmarks.loader_page import of_workers
from benchmarks.loader_process import Job, Loader, LoaderProcess
from benchmarks.one_workload import add_arguments, prepared_for, publish_or_print
from benchmarks.slow_disk import slowed
from benchmarks.workloads import PHOTO, Workload
from formwork.beton.read import open_beton
from formwork.params import BetonParams
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

WORKLOADS = {
    Workload("photo, raw", PHOTO, BetonParams(write_mode="raw", max_resolution=None)): 200,
    Workload("photo, originals", PHOTO, BetonParams(write_mode="jpg", max_resolution=None)): 20,
}
"""And MB/s of the slow disk: fewer than two cores decode."""
__all__ = ["add_arguments", "main"]

PIECE, AT_ONCE = 1 << 20, 4  # bytes of a request of `disk`, and requests
DISK = "the disk alone, MB/s"


def disk(job: Job) -> Callable[[], Loader]:
    """All of the beton, past the page cache where that is possible; no images."""
    import torch

    labels = torch.empty(len(open_beton(job.beton)))

    class Disk:
        def __iter__(self) -> Iterator[tuple[None, torch.Tensor]]:
            drop(job.beton)
            flags = os.O_RDONLY | getattr(os, "O_DIRECT", 0)
            try:
                descriptor = os.open(job.beton, flags)
            except OSError:  # a file system without it
                descriptor = os.open(job.beton, os.O_RDONLY)
            try:
                with ThreadPoolExecutor(AT_ONCE) as threads:
                    places = range(0, job.beton.stat().st_size, PIECE)
                    list(threads.map(lambda place: os.preadv(descriptor, [mmap.mmap(-1, PIECE)], place), places))
            finally:
                os.close(descriptor)
            yield None, labels

    return Disk


def sequential(job: Job) -> Callable[[], Loader]:
    return _cold(job, "sequential", os_cache=False)


def quasi_random(job: Job) -> Callable[[], Loader]:
    return _cold(job, "quasi_random", os_cache=False)


def random(job: Job) -> Callable[[], Loader]:
    return _cold(job, "random", os_cache=False)


def into_cache(job: Job) -> Callable[[], Loader]:
    return _cold(job, "quasi_random", os_cache=True)


WAYS = {
    DISK: disk,
    "sequential": sequential,
    "quasi_random": quasi_random,
    "random": random,
    "quasi_random, os_cache": into_cache,
}


def _cold(job: Job, order: str, os_cache: bool) -> Callable[[], Loader]:
    """An epoch after the file was dropped from the page cache, by a loader that was not used before."""
    from formwork.loading.ffcv_loader import FFCVDataLoader

    split, config = formwork_parts(job)
    config = replace(config, order=order, os_cache=os_cache, drop_last=False)

    class Cold:
        def __iter__(self) -> Iterator:
            loader = FFCVDataLoader(split, config)
            drop(job.beton)
            return iter(loader)

    return Cold


def drop(path: Path) -> None:
    """Take a file out of the page cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def main(a: argparse.Namespace) -> None:
    rows, results = [], {}
    for workload, slow in WORKLOADS.items():
        with prepared_for(a, workload) as prepared:
            mean = float(open_beton(prepared.beton).sizes.mean())
            job = prepared.job(a.workers)
            for name, rate in (("as it is", None), (f"slowed to {slow} MB/s", slow)):
                rates = measure(job, a.rounds, rate)
                if rates is None:
                    continue
                rows.append(row(workload.name, name, rates, mean))
                results[f"{workload.name}, {name}"] = {
                    way: {"bytes_per_second": [mean * value for value in found.values]} for way, found in rates.items()
                }
    publish_or_print(a, "cold", body(rows, a.workers, a.rounds), results)


def measure(job: Job, rounds: int, rate: int | None) -> Mapping[str, Rates] | None:
    """Images/s of each way; None where the disk cannot be slowed down to `rate` MB/s."""
    with ExitStack() as stack:
        slow = stack.enter_context(slowed(job.beton, rate * 10**6)) if rate else None
        if rate and slow is None:
            return None
        processes = {way: stack.enter_context(LoaderProcess(way, load, job)) for way, load in WAYS.items()}
        for process in processes.values():
            if slow:
                slow(process.process.pid)
        return alternate({way: partial(_epoch, process) for way, process in processes.items()}, rounds)


def _epoch(process: LoaderProcess) -> int:
    return process.epoch().images


def row(workload: str, name: str, rates: Mapping[str, Rates], mean: float) -> list[str]:
    alone = rates[DISK]
    shares = [f"{median_ratio(rates[way], alone):.2f}" for way in WAYS if way != DISK]
    return [workload, name, f"{mean / 1e3:,.0f}", f"{mean * alone.median / 1e6:,.0f}", *shares]


def body(rows: list[list[str]], workers: int, rounds: int) -> str:
    columns = ["workload", "disk", "kB an image", DISK, *(way for way in WAYS if way != DISK)]
    return (
        "A beton that is not in the page cache: what FFCVDataLoader reads of it a second in an epoch, from making the "
        "loader to its last batch, over what the disk reads alone, in pieces of 1 MB, four at a time, past the page "
        f"cache. {of_workers(workers).capitalize()}, `ffcv.os_cache: false` but for the last column, in turn; medians "
        f"of {rounds} epochs after one to warm up. The slow disk is the same one, slowed down by a "
        "control group; as it is, it may be faster than two cores decode.\n\n"
        f"{table(columns, rows)}"
    )
