"""Reading sample by sample, as of a large beton, against a beton held in memory, as a small one is."""

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.contenders import formwork_ffcv
from benchmarks.loader_page import of_workers
from benchmarks.loader_process import Job, Loader, LoaderProcess
from benchmarks.one_workload import add_arguments, prepared_for, publish_or_print
from benchmarks.workloads import WORKLOADS, Prepared
from formwork.beton.read import open_beton
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

__all__ = ["add_arguments", "main"]

READ, HELD = "read sample by sample", "held in memory"


def read(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, held=False)


def held(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, held=True)


def _ffcv(job: Job, held: bool) -> Callable[[], Loader]:
    make = formwork_ffcv(job)

    def make_either_way() -> Loader:
        loader: Any = make()
        loader.source.held = held  # whatever the size of the file
        return loader

    return make_either_way


WAYS = {READ: read, HELD: held}


@dataclass(frozen=True)
class Measured:
    """sample_bytes: mean size of a stored image. rates: by way of reading."""

    sample_bytes: float
    rates: Mapping[str, Rates]


def main(a: argparse.Namespace) -> None:
    measured: dict[str, Measured] = {}
    for workload in WORKLOADS:
        with prepared_for(a, workload) as prepared:
            measured[workload.name] = measure(prepared, a.workers, a.rounds)
    results = {
        workload: {way: {"images_per_second": rates.values} for way, rates in found.rates.items()}
        for workload, found in measured.items()
    }
    publish_or_print(a, "reading", body(measured, a.workers, a.rounds), results)


def measure(prepared: Prepared, workers: int, rounds: int) -> Measured:
    with ExitStack() as stack:
        processes = {
            way: stack.enter_context(LoaderProcess(way, load, prepared.job(workers))) for way, load in WAYS.items()
        }
        rates = alternate({way: partial(_epoch, process) for way, process in processes.items()}, rounds)
    return Measured(float(open_beton(prepared.beton).sizes.mean()), rates)


def _epoch(process: LoaderProcess) -> int:
    return process.epoch().images


def body(measured: Mapping[str, Measured], workers: int, rounds: int) -> str:
    rows = [
        [
            workload,
            f"{found.sample_bytes / 1e3:,.1f}",
            *(str(found.rates[way]) for way in WAYS),
            f"**{median_ratio(found.rates[READ], found.rates[HELD]):.2f} x**",
        ]
        for workload, found in measured.items()
    ]
    columns = ["workload", "kB an image", *(f"{way}, images/s" for way in WAYS), "ratio"]
    return (
        "A beton of up to 256 MB, and one of small images that fits into memory, is held there; of others, each sample "
        "is copied out of the page cache by the worker that decodes it. Both "
        f"ways on each workload, whatever its size: FFCVDataLoader, {of_workers(workers)}, random order, in turn; "
        f"medians of {rounds} epochs after one to warm up.\n\n{table(columns, rows)}"
    )
