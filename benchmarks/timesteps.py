"""Images repeated in time for recurrent models: views of the same memory, against copies."""

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from benchmarks.contenders import EpochLoader, formwork_ffcv
from benchmarks.loader_page import of_workers
from benchmarks.loader_process import Epoch, Job, Loader, LoaderProcess
from benchmarks.measured_command import POLL_SECONDS
from benchmarks.one_workload import add_arguments, prepared_for, publish_or_print
from benchmarks.workloads import WORKLOADS, Prepared
from formwork.system import PeakMemory
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

__all__ = ["add_arguments", "main"]

WORKLOAD = WORKLOADS[0]  # photo, jpg 256
STEPS = 8
ONCE, VIEWS, COPIES = "T = 1", f"T = {STEPS}, as model.timesteps gives it", f"T = {STEPS}, copied"


def copies(job: Job) -> Callable[[], Loader]:
    """The same batches as with views, each timestep in memory of its own."""
    make = formwork_ffcv(replace(job, timesteps=1))

    def make_copies() -> Loader:
        loader = make()
        repeat = (1, job.timesteps, 1, 1, 1)
        return EpochLoader(
            lambda: (
                (images.unsqueeze(1).repeat(repeat), labels.unsqueeze(1).repeat(repeat[:2]))
                for images, labels in loader
                if images is not None
            )
        )

    return make_copies


def main(a: argparse.Namespace) -> None:
    with prepared_for(a, WORKLOAD) as prepared:
        rates, epochs, peaks = measure(prepared, a.workers, a.rounds)
    results = {
        name: {
            "images_per_second": rates[name].values,
            "batch_bytes": epochs[name].bytes,
            "process_peak_bytes": peaks[name],
        }
        for name in rates
    }
    publish_or_print(a, "timesteps", body(rates, epochs, peaks, prepared, a.workers), results)


def measure(prepared: Prepared, workers: int, rounds: int) -> tuple[dict[str, Rates], dict[str, Epoch], dict[str, int]]:
    """Images/s, an epoch, and the peak memory of the process in bytes; each by name."""
    jobs = {
        ONCE: (formwork_ffcv, prepared.job(workers)),
        VIEWS: (formwork_ffcv, prepared.job(workers, timesteps=STEPS)),
        COPIES: (copies, prepared.job(workers, timesteps=STEPS)),
    }
    epochs: dict[str, Epoch] = {}
    with ExitStack() as stack:
        processes = {name: stack.enter_context(LoaderProcess(name, *job)) for name, job in jobs.items()}
        memory = {name: stack.enter_context(PeakMemory(p.process.pid, POLL_SECONDS)) for name, p in processes.items()}

        def epoch(name: str) -> int:
            epochs[name] = processes[name].epoch()
            return epochs[name].images

        rates = alternate({name: partial(epoch, name) for name in processes}, rounds)
        peaks = {name: watched.peak for name, watched in memory.items()}
    return rates, epochs, peaks


def body(
    rates: dict[str, Rates], epochs: dict[str, Epoch], peaks: dict[str, int], prepared: Prepared, workers: int
) -> str:
    header = ["images", "shape", "images/s", "over copies", "memory of a batch, MB", "peak of the process, MB"]
    rows = [
        [
            name,
            str(tuple(epochs[name].shape)),
            str(rate),
            "" if name == COPIES else f"**{median_ratio(rate, rates[COPIES]):.2f} x**",
            f"{epochs[name].bytes / 1e6:,.0f}",
            f"{peaks[name] / 1e6:,.0f}",
        ]
        for name, rate in rates.items()
    ]
    return (
        f"FFCVDataLoader on {prepared.workload.name}, {of_workers(workers)}, with and without `model.timesteps`, and "
        "with the same images copied for each timestep, in turn; medians of "
        f"{len(rates[ONCE].values)} epochs after one to warm up.\n\n{table(header, rows)}"
    )
