"""Several views of an image: what the second costs, decoded once."""

import argparse
from contextlib import ExitStack
from functools import partial

from benchmarks.contenders import formwork_ffcv
from benchmarks.loader_page import of_workers
from benchmarks.loader_process import LoaderProcess
from benchmarks.one_workload import add_arguments, prepared_for, publish_or_print
from benchmarks.workloads import WORKLOADS, Prepared
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

__all__ = ["add_arguments", "main"]

CHOSEN = [workload for workload in WORKLOADS if workload.name in ("photo, jpg 256", "photo, originals")]
COUNTS = (1, 2, 4)


def main(a: argparse.Namespace) -> None:
    rates: dict[str, dict[int, Rates]] = {}
    for workload in CHOSEN:
        with prepared_for(a, workload) as prepared:
            rates[workload.name] = measure(prepared, a.workers, a.rounds)
    results = {
        name: {str(count): of_count.values for count, of_count in of_workload.items()}
        for name, of_workload in rates.items()
    }
    publish_or_print(a, "views", body(rates, a.workers), results)


def measure(prepared: Prepared, workers: int, rounds: int) -> dict[int, Rates]:
    """Images/s, each image counted once however many views it has, by their number."""
    with ExitStack() as stack:
        processes = {
            count: stack.enter_context(
                LoaderProcess(f"{count} views", formwork_ffcv, prepared.job(workers, views=count))
            )
            for count in COUNTS
        }
        return alternate({count: partial(_images, process) for count, process in processes.items()}, rounds)


def _images(process: LoaderProcess) -> int:
    return process.epoch().images


def body(rates: dict[str, dict[int, Rates]], workers: int) -> str:
    rows = [
        [workload, str(count), str(rate), f"{median_ratio(of_workload[1], rate):.2f}"]
        for workload, of_workload in rates.items()
        for count, rate in of_workload.items()
    ]
    rounds = len(next(iter(rates.values()))[1].values)
    header = ["images", "views", "images/s", "cost of an image, in that of one with one view"]
    return (
        f"FFCVDataLoader, {of_workers(workers)}, with `augment.views` of 1, 2 and 4 for RandomResizedCrop(224), a flip "
        f"and normalisation, in turn; medians of {rounds} epochs after one to warm up. An image counts once, however "
        f"many views it has.\n\n{table(header, rows)}"
    )
