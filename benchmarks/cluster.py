"""Several machines: what a second worker gains, and what a task costs beside its work."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.page import ROOT, publish
from formwork.cluster.executor import ClusterExecutor, cluster_executor
from formwork.datasets.candidates import find_candidates
from formwork.datasets.verify_file import File, verify_files
from formwork.errors import FormworkError
from formwork.parallel import in_order
from formwork.sources.synthetic import write_photos
from formwork.text import table
from formwork.tools.measure import alternate, median_ratio

START_SECONDS = 60
EMPTY = 200  # tasks without work


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=int, default=1400, help="images to verify, 500 x 375 pixels")
    parser.add_argument("--task", type=int, default=35, help="images of a task: those of 4 MB, as in verification")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, default=ROOT / "docs/cluster.md", help="page to write into")
    parser.add_argument("--results", type=Path, default=ROOT / "results/bench", help="folder for the figures as JSON")


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name) / "raw"
        write_photos(raw, arguments.photos, classes=10, seed=0, workers=2)
        files = [File(path) for path in find_candidates(raw).paths]
        tasks = [files[at : at + arguments.task] for at in range(0, len(files), arguments.task)]
        with _pool(Path(name), "one", 1) as one, _pool(Path(name), "two", 2) as two:
            rates = alternate(
                {"one worker": lambda: _verify(one, raw, tasks), "two workers": lambda: _verify(two, raw, tasks)},
                arguments.rounds,
            )
            overhead = [_empty(one) for _ in range(arguments.rounds + 1)][1:]
    speed_up, cost = median_ratio(rates["two workers"], rates["one worker"]), float(np.median(overhead))
    results = {
        "images_per_second": {workers: rate.values for workers, rate in rates.items()},
        "speed_up": speed_up,
        "seconds_a_task": overhead,
    }
    body = (
        table(["verification by", "images/s"], [[workers, str(rate)] for workers, rate in rates.items()])
        + f"\n\nTwo workers are {speed_up:.2f} times as fast as one. A task without work takes {cost * 1e3:.1f} ms."
    )
    publish("cluster", "python benchmarks/run.py cluster", body, results, arguments.page, arguments.results)


def _verify(pool: ClusterExecutor, raw: Path, tasks: Sequence[list[File]]) -> int:
    return sum(len(found) for _, found in in_order(pool, partial(verify_files, str(raw)), tasks, ahead=len(tasks)))


def _empty(pool: ClusterExecutor) -> float:
    """Seconds a task, one after the other."""
    start = time.perf_counter()
    for number in range(EMPTY):
        pool.submit(abs, number).result()
    return (time.perf_counter() - start) / EMPTY


@contextmanager
def _pool(folder: Path, name: str, workers: int) -> Iterator[ClusterExecutor]:
    """An executor on a scheduler of its own with so many workers of a thread each, as processes of this machine."""
    file = folder / f"{name}.json"
    dask = [sys.executable, "-m", "dask"]
    scheduler = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file]
    worker = [*dask, "worker", "--scheduler-file", file, "--nworkers", "1", "--nthreads", "1", "--no-nanny"]
    worker += ["--no-dashboard", "--local-directory", folder]
    with (folder / f"{name}.log").open("wb") as log:
        started = [subprocess.Popen(command, stdout=log, stderr=log) for command in [scheduler, *[worker] * workers]]
        try:
            address = _address(file)
            with cluster_executor(address, "link", folder / name) as pool:
                assert pool is not None
                pids: set[int] = set()
                end = time.monotonic() + START_SECONDS
                while len(pids) < workers and time.monotonic() < end:
                    pids |= {future.result() for future in [pool.submit(os.getppid) for _ in range(2 * workers)]}
                yield pool
        finally:
            for process in reversed(started):
                process.kill()
                process.wait()


def _address(file: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while not file.exists():
        if time.monotonic() > end:
            raise FormworkError("The Dask scheduler has not started.")
        time.sleep(0.05)
    return json.loads(file.read_text())["address"]
