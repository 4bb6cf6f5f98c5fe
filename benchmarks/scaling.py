"""How FFCVDataLoader scales: what each worker adds, what holds it back, and how far memory is from its limit."""

import argparse
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.loader import add_common_arguments, add_workers_argument
from benchmarks.loader_page import of_workers
from benchmarks.loader_process import LoaderProcess
from benchmarks.one_workload import prepared_for, publish_or_print
from benchmarks.watched_loader import timed, whole
from benchmarks.workloads import WORKLOADS, Prepared
from formwork.beton.read import open_beton
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

FLAT = 0.8  # efficiency below which a loader does not scale any more
COPIED, COPIES = 1 << 26, 4  # bytes that each thread copies, far more than caches hold, and how often
OUTPUT = 3 * 4  # bytes of a pixel in a batch

COMPUTING, QUEUEING, LOCKED, IDLE = "computing", "no core", "GIL", "no work"
STATES = (COMPUTING, QUEUEING, LOCKED, IDLE)


@dataclass(frozen=True)
class Scaled:
    """A workload with a number of workers.

    Attributes:
        rates: images/s. copying: bytes/s that as many threads copy, read and written both counted.
        whole, timed: figures of benchmarks.watched_loader of each round, for `images` images.
        image_bytes: of an image, that come from memory and go there.
    """

    workers: int
    rates: Rates
    copying: Rates
    whole: Sequence[Mapping[str, float]]
    timed: Sequence[Mapping[str, float]]
    images: int
    batches: int
    image_bytes: float

    def of_whole(self, name: str) -> float:
        """The median of a figure."""
        return statistics.median(figures[name] for figures in self.whole)

    @property
    def computing(self) -> float:
        """CPU seconds an image takes in compiled code."""
        return statistics.median(figures["computing_seconds"] for figures in self.timed) / self.images

    @property
    def uncompiled(self) -> float:
        """CPU seconds an image takes outside compiled code: Python and NumPy, nearly all of it under the GIL."""
        return self.of_whole("cpu_seconds") / self.images - self.computing

    @property
    def states(self) -> dict[str, float]:
        """Shares of the workers' time, by STATES."""
        rows = []
        for figures in self.timed:
            computing, queueing = figures["computing_seconds"], figures["queueing_seconds"]
            called, everything = figures["called_seconds"], self.workers * figures["seconds"]
            rows.append(
                np.array([computing, queueing, called - computing - queueing, everything - called]) / everything
            )
        return dict(zip(STATES, np.median(rows, axis=0).tolist(), strict=True))

    @property
    def memory_share(self) -> float:
        """Of what as many threads copy, what passes through memory."""
        return self.rates.median * self.image_bytes / self.copying.median


def efficiency(scaled: Scaled, one: Scaled) -> float:
    """Images/s a worker, over those of one worker."""
    return median_ratio(scaled.rates, one.rates) * one.workers / scaled.workers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_workers_argument(parser)
    add_common_arguments(parser)


def main(a: argparse.Namespace) -> None:
    measured = {}
    for workload in WORKLOADS:
        with prepared_for(a, workload) as prepared:
            measured[workload.name] = measure(prepared, a.workers, a.rounds)
    results = {
        name: {
            str(scaled.workers): {
                "images_per_second": scaled.rates.values,
                "copied_bytes_per_second": scaled.copying.values,
                "images": scaled.images,
                "image_bytes": scaled.image_bytes,
                "whole": list(scaled.whole),
                "timed": list(scaled.timed),
            }
            for scaled in found
        }
        for name, found in measured.items()
    }
    a.workers = ",".join(map(str, a.workers))  # as in the command that is published
    publish_or_print(a, "scaling", body(measured, a.rounds), results)


def measure(prepared: Prepared, workers: Sequence[int], rounds: int) -> list[Scaled]:
    """One Scaled for each number of workers, all measured in turn."""
    figures: dict[str, list[Mapping[str, float]]] = {}
    images: dict[str, int] = {}

    def epoch(name: str, process: LoaderProcess) -> int:
        done = process.epoch()
        figures.setdefault(name, []).append(done.figures)
        images[name] = done.images
        return done.images

    with ExitStack() as stack:
        contenders: dict[str, Callable[[], int]] = {}
        for count in workers:
            for load in (whole, timed):
                name = f"{load.__name__} {count}"
                process = stack.enter_context(LoaderProcess(name, load, prepared.job(count)))
                contenders[name] = partial(epoch, name, process)
            contenders[f"copying {count}"] = partial(copy, [_pair() for _ in range(count)])
        rates = alternate(contenders, rounds)
    kind = prepared.workload.kind
    stored = float(open_beton(prepared.beton).sizes.mean())
    return [
        Scaled(
            count,
            rates[f"whole {count}"],
            rates[f"copying {count}"],
            figures[f"whole {count}"][1:],  # the first was to warm up
            figures[f"timed {count}"][1:],
            images[f"whole {count}"],
            images[f"whole {count}"] // kind.batch_size,
            stored + OUTPUT * kind.side**2,
        )
        for count in workers
    ]


def _pair() -> tuple[np.ndarray, np.ndarray]:
    return np.ones(COPIED, np.uint8), np.zeros(COPIED, np.uint8)


def copy(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> int:
    """Copy the first of each pair into the second, each in a thread; gives the bytes that are read and written."""

    def work(source: np.ndarray, target: np.ndarray) -> None:
        for _ in range(COPIES):
            np.copyto(target, source)

    threads = [threading.Thread(target=work, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(2 * COPIES * source.nbytes for source, _ in pairs)


def body(measured: Mapping[str, Sequence[Scaled]], rounds: int) -> str:
    speed, spent, moved = [], [], []
    for name, found in measured.items():
        one = found[0]
        for s in found:
            start = [name, s.workers]
            speed.append(
                [
                    *start,
                    s.rates,
                    f"{s.rates.median / s.workers:,.0f}",
                    f"**{efficiency(s, one):.0%}**",
                    f"{1e6 * s.of_whole('cpu_seconds') / s.images:,.1f}",
                    f"{1e6 * s.uncompiled:,.2f}",
                    f"{1 / s.uncompiled:,.0f}",
                ]
            )
            states = [f"{share:.0%}" for share in s.states.values()]
            spent.append([*start, *states, f"{s.computing / one.computing:.2f} x"])
            moved.append(
                [
                    *start,
                    f"{s.of_whole('waits') / s.batches:,.1f}",
                    f"{s.of_whole('preemptions') / s.batches:,.1f}",
                    f"{s.of_whole('page_faults') / s.images:,.3f}",
                    f"{s.image_bytes / 1e3:,.1f}",
                    f"{s.rates.median * s.image_bytes / 1e9:,.1f}",
                    f"{s.copying.median / 1e9:,.1f}",
                    f"**{s.memory_share:.0%}**",
                ]
            )
    start = ["workload", "workers"]
    return "\n\n".join(
        [
            "FFCVDataLoader alone, consumed by an empty loop, random order, betons held in memory; all numbers of "
            f"workers in turn, medians of {rounds} epochs after one to warm up. Efficiency is images/s a worker over "
            f"those with {of_workers(next(iter(measured.values()))[0].workers)}. CPU time is that of all threads. "
            "Outside compiled code is Python and NumPy, which plan batches and hand them out; nearly all of it holds "
            "the GIL, so that it is a limit for any number of workers:",
            table(
                [*start, "images/s", "a worker", "efficiency", "µs CPU an image", "outside compiled code", "limit"],
                speed,
            ),
            "What workers do, as shares of their time, in epochs whose calls of compiled code are timed: compute; be "
            "ready to and have no core, because other threads have it; wait for the GIL after compiled code; have no "
            "work, or be in Python. The last column is the CPU time that compiled code takes for an image, which grows "
            "where workers share caches, memory or the clock of the CPU:",
            table([*start, *STATES, f"{COMPUTING}, over the first"], spent),
            "Waits are the times that a thread gave up its core, for a lock or a queue, and preemptions those that it "
            "lost it, both a batch. Bytes are the stored ones that are read and the float32 ones that are written; "
            "what is in between stays in the caches. Copying is what as many threads copy at the same time of the run, "
            "read and written, too:",
            table(
                [
                    *start,
                    "waits",
                    "preemptions",
                    "page faults an image",
                    "kB an image",
                    "GB/s",
                    "copying, GB/s",
                    "share",
                ],
                moved,
            ),
            "\n".join(f"- {line}" for line in flattening(measured)),
        ]
    )


def flattening(measured: Mapping[str, Sequence[Scaled]]) -> list[str]:
    """For each workload from how many workers on it does not scale, and what it loses most by there."""
    return [f"{name}: {_flattening(found)}" for name, found in measured.items()]


def _flattening(found: Sequence[Scaled]) -> str:
    one, most = found[0], found[-1]
    flat = next((scaled for scaled in found if efficiency(scaled, one) < FLAT), None)
    if flat is None:
        return f"{efficiency(most, one):.0%} efficiency with {of_workers(most.workers)}."
    lost = {state: flat.states[state] - one.states[state] for state in STATES[1:]}
    lost["slower compiled code"] = flat.states[COMPUTING] * (1 - one.computing / flat.computing)
    why = max(lost, key=lambda state: lost[state])
    return (
        f"{efficiency(flat, one):.0%} efficiency with {of_workers(flat.workers)}, most of the loss by "
        f"{why}: {lost[why]:.0%} of the workers' time."
    )
