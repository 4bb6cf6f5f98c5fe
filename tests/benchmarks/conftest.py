"""Workloads of the loader benchmark, with a handful of images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

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
