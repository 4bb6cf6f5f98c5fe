"""Workloads of the loader benchmark, with a handful of images; and contenders that need no process of their own."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.loader_process import Epoch, First, Job, Load, Loader, load_first, run_epoch
from benchmarks.workloads import DIGIT, PHOTO, SMALLER, TINY, Prepared, Workload, prepare
from formwork.params import BetonParams

IMAGES = 20
BATCH = 8
RAW = BetonParams(write_mode="raw")
WORKLOADS = {
    "photo": Workload("photo, jpg 256", replace(PHOTO, batch_size=BATCH), SMALLER, resized=True),
    "tiny": Workload("tiny, raw", replace(TINY, batch_size=BATCH), RAW),
    "digit": Workload("digit, raw", replace(DIGIT, batch_size=BATCH), RAW),
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    """prepared("photo"): IMAGES images of that kind, and their beton; made once. Not to be changed."""
    root: Path = tmp_path_factory.mktemp("workloads")
    made: dict[str, Prepared] = {}

    def get(kind: str) -> Prepared:
        if kind not in made:
            made[kind] = prepare(WORKLOADS[kind], root, IMAGES)
        return made[kind]

    return get


class LoaderHere:
    """A LoaderProcess in this process, which has imported everything: test_loader_process.py has real ones."""

    def __init__(self, name: str, load: Load, job: Job, environment: Mapping[str, str] | None = None):
        self.process = SimpleNamespace(pid=os.getpid())
        self.make = load(Job.load(job.dump()))
        self.loader: Loader | None = None

    def __enter__(self) -> "LoaderHere":
        return self

    def __exit__(self, *_: object) -> None:
        self.loader = None

    def first(self) -> First:
        return load_first(self.make)

    def epoch(self) -> Epoch:
        self.loader = self.make() if self.loader is None else self.loader
        return run_epoch(self.loader)
