"""Comparing samples with their checksums against not doing so: in the epoch that first reads them, and after it."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.contenders import EpochLoader, formwork_parts
from benchmarks.loader_page import of_workers
from benchmarks.loader_process import Job, Loader, LoaderProcess
from benchmarks.one_workload import add_arguments, prepared_for, publish_or_print
from benchmarks.workloads import WORKLOADS, Prepared
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

__all__ = ["add_arguments", "main"]

FIRST, LATER = "first epoch", "later epochs"
EPOCHS = (FIRST, LATER)
VERIFIED, UNVERIFIED = "compared", "not compared"
BOUNDS = {"photo, jpg 256": 0.02, "photo, raw 256": 0.05}
"""Workloads, and the share of its images/s that the first epoch may cost."""


def first_verified(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, "first", FIRST)


def first_unverified(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, "never", FIRST)


def later_verified(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, "first", LATER)


def later_unverified(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, "never", LATER)


def _ffcv(job: Job, verify: str, epoch: str) -> Callable[[], Loader]:
    from formwork.loading.ffcv_loader import FFCVDataLoader
    from formwork.loading.verification import Verification

    split, config = formwork_parts(job)

    def make() -> Loader:
        loader: Any = FFCVDataLoader(split, replace(config, verify=verify, drop_last=False))

        def batches():
            if epoch == FIRST:  # again: nothing is in memory or has been compared
                loader.source.whole, loader.source.done = None, 0
                loader.source.verification = Verification(loader.beton, verify)
            return iter(loader)

        return EpochLoader(batches)

    return make


WAYS = {
    (FIRST, VERIFIED): first_verified,
    (FIRST, UNVERIFIED): first_unverified,
    (LATER, VERIFIED): later_verified,
    (LATER, UNVERIFIED): later_unverified,
}
Measured = Mapping[tuple[str, str], Rates]


def main(a: argparse.Namespace) -> None:
    measured: dict[str, Measured] = {}
    for workload in WORKLOADS:
        if workload.name in BOUNDS:
            with prepared_for(a, workload) as prepared:
                measured[workload.name] = measure(prepared, a.workers, a.rounds)
    results = {
        workload: {f"{epoch}, {way}": {"images_per_second": rate.values} for (epoch, way), rate in rates.items()}
        for workload, rates in measured.items()
    }
    publish_or_print(a, "verification", body(measured, a.workers, a.rounds), results)


def measure(prepared: Prepared, workers: int, rounds: int) -> Measured:
    names = {", ".join(way): way for way in WAYS}
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(LoaderProcess(name, WAYS[way], prepared.job(workers)))
            for name, way in names.items()
        }
        rates = alternate({name: partial(_epoch, process) for name, process in processes.items()}, rounds)
    return {way: rates[name] for name, way in names.items()}


def _epoch(process: LoaderProcess) -> int:
    return process.epoch().images


def cost(rates: Measured, epoch: str) -> float:
    """The share of the images/s that comparing takes; below 0 where it gives some."""
    return 1 - median_ratio(rates[epoch, VERIFIED], rates[epoch, UNVERIFIED])


def body(measured: Mapping[str, Measured], workers: int, rounds: int) -> str:
    rows = [
        [
            workload,
            epoch,
            str(rates[epoch, UNVERIFIED]),
            str(rates[epoch, VERIFIED]),
            f"**{cost(rates, epoch):.1%}**",
            f"{BOUNDS[workload]:.0%}" if epoch == FIRST else "0%",
        ]
        for workload, rates in measured.items()
        for epoch in EPOCHS
    ]
    columns = ["workload", "", *(f"{way}, images/s" for way in (UNVERIFIED, VERIFIED)), "cost", "bound"]
    return (
        f"FFCVDataLoader with `ffcv.verify: first` and `never`, {of_workers(workers)}, random order, in turn; medians "
        f"of {rounds} epochs after one to warm up. A first epoch reads the beton out of the page cache, too. A cost "
        "below 0 is a gain: what was compared is in the cache of the CPU when it is decoded.\n\n"
        f"{table(columns, rows)}"
    )
