"""Several views of an image: what the second costs, decoded once."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from benchmarks.contenders import formwork_ffcv, formwork_parts
from benchmarks.loader_page import of_workers
from benchmarks.loader_process import Job, Load, Loader, LoaderProcess
from benchmarks.one_workload import add_arguments, prepared_for, publish_or_print
from benchmarks.workloads import WORKLOADS, Prepared
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

__all__ = ["add_arguments", "main"]

CHOSEN = [workload for workload in WORKLOADS if workload.name in ("photo, jpg 256", "photo, originals")]
COUNTS = (1, 2, 4)


def uint8(job: Job) -> Callable[[], Loader]:
    """Batches as they are made for a GPU, which normalises them."""
    from formwork.loading.ffcv_loader import FFCVDataLoader

    split, config = formwork_parts(job)
    return lambda: FFCVDataLoader(split, replace(config, dtype="uint8"))


LOADS: dict[str, Load] = {"float32": formwork_ffcv, "uint8": uint8}


def main(a: argparse.Namespace) -> None:
    rates: dict[tuple[str, str], dict[int, Rates]] = {}
    for workload in CHOSEN:
        with prepared_for(a, workload) as prepared:
            for dtype, load in LOADS.items():
                rates[workload.name, dtype] = measure(load, prepared, a.workers, a.rounds)
    results = {
        ", ".join(key): {str(count): of_count.values for count, of_count in of_workload.items()}
        for key, of_workload in rates.items()
    }
    publish_or_print(a, "views", body(rates, a.workers), results)


def measure(load: Load, prepared: Prepared, workers: int, rounds: int) -> dict[int, Rates]:
    """Images/s, each image counted once however many views it has, by their number."""
    with ExitStack() as stack:
        processes = {
            count: stack.enter_context(LoaderProcess(f"{count} views", load, prepared.job(workers, views=count)))
            for count in COUNTS
        }
        return alternate({count: partial(_images, process) for count, process in processes.items()}, rounds)


def _images(process: LoaderProcess) -> int:
    return process.epoch().images


def body(rates: dict[tuple[str, str], dict[int, Rates]], workers: int) -> str:
    rows = [
        [workload, dtype, str(count), str(rate), f"{median_ratio(of_workload[1], rate):.2f}"]
        for (workload, dtype), of_workload in rates.items()
        for count, rate in of_workload.items()
    ]
    rounds = len(next(iter(rates.values()))[1].values)
    header = ["images", "batches", "views", "images/s", "cost of an image, in that of one with one view"]
    return (
        f"FFCVDataLoader, {of_workers(workers)}, with `augment.views` of 1, 2 and 4 for RandomResizedCrop(224), a flip "
        f"and normalisation, in turn; medians of {rounds} epochs after one to warm up. Batches of uint8 are made for a "
        "GPU, which normalises them. An image counts once, however many views it has.\n\n"
        f"{table(header, rows)}"
    )
