"""The benchmark of scaling says what its figures mean, and its watched loaders measure what they say."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.loader_process import run_epoch
from benchmarks.scaling import COMPUTING, IDLE, LOCKED, QUEUEING, Scaled, efficiency, flattening
from benchmarks.watched_loader import TimedCode, timed, whole
from benchmarks.workloads import Prepared
from formwork.tools.measure import Rates
from tests.benchmarks.conftest import BATCH, IMAGES, LoaderHere


def scaled(workers: int, rate: float, computing: float, queueing: float, called: float) -> Scaled:
    """100 images in 1 s, in which all workers together spent so many seconds on each of these."""
    figures = {
        "computing_seconds": computing,
        "queueing_seconds": queueing,
        "called_seconds": called,
        "seconds": 1.0,
    }
    used = {"cpu_seconds": computing + 0.01, "waits": 20, "preemptions": 4, "page_faults": 50}
    return Scaled(workers, Rates((rate,) * 3), Rates((1e9,) * 3), [used] * 3, [figures] * 3, 100, 2, 1e6)


ONE = scaled(1, 100, 0.8, 0.0, 0.8)
FOUR = scaled(4, 200, 0.8, 0.4, 1.6)  # half as fast as four alone


def test_shares_of_the_workers_time() -> None:
    assert FOUR.states == pytest.approx({COMPUTING: 0.2, QUEUEING: 0.1, LOCKED: 0.1, IDLE: 0.6})
    assert efficiency(FOUR, ONE) == 0.5
    assert FOUR.uncompiled == pytest.approx(1e-4)  # s an image: 10,000 images/s, whatever the workers
    assert FOUR.memory_share == pytest.approx(0.2)


def test_what_holds_a_workload_back_most_is_named() -> None:
    slower = scaled(4, 200, 3.2, 0.0, 3.2)  # each image takes four times the CPU time

    assert flattening({"a": [ONE, FOUR], "b": [ONE], "c": [ONE, slower]}) == [
        "a: 50% efficiency with 4 workers, most of the loss by no work: 40% of the workers' time.",
        "b: 100% efficiency with 1 worker.",
        "c: 50% efficiency with 4 workers, most of the loss by slower compiled code: 60% of the workers' time.",
    ]


def test_calls_of_compiled_code_are_timed() -> None:
    ran = []
    code = TimedCode(SimpleNamespace(load=ran.append))
    for _ in range(2):
        code.load(1)

    sums = code.sums()
    assert ran == [1, 1]
    assert 0 < sums["computing_seconds"] + sums["queueing_seconds"] <= sums["called_seconds"]


@pytest.mark.slow
def test_each_number_of_workers_is_measured(
    prepared: Callable[[str], Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = prepared("tiny")
    monkeypatch.setattr(scaling, "LoaderProcess", LoaderHere)
    monkeypatch.setattr(scaling, "WORKLOADS", [tiny.workload])
    monkeypatch.setattr(scaling, "COPIED", 1 << 10)
    monkeypatch.setattr("benchmarks.one_workload.prepare", lambda *_: tiny)
    page = tmp_path / "page.md"
    page.write_text("<!-- begin scaling -->\n<!-- end scaling -->\n")
    parser = argparse.ArgumentParser()
    scaling.add_arguments(parser)

    scaling.main(
        parser.parse_args(["--workers", "1,2", "--rounds", "2", "--page", str(page), "--results", str(tmp_path)])
    )

    found = json.loads((tmp_path / "scaling.json").read_text())[tiny.workload.name]
    assert [*found] == ["1", "2"]
    for figures in found.values():
        assert figures["images"] == IMAGES // BATCH * BATCH
        assert figures["image_bytes"] == 32 * 32 * 3 * (1 + 4)
        assert len(figures["images_per_second"]) == len(figures["whole"]) == len(figures["timed"]) == 2
        for one in figures["timed"]:
            assert 0 < one["computing_seconds"] <= one["called_seconds"]
            assert one["computing_seconds"] < one["cpu_seconds"]
    text = page.read_text()
    assert text.count(f"| {tiny.workload.name} | 2 |") == 3
    assert "run.py scaling --workers 1,2 --rounds 2` on " in text


@pytest.mark.slow
def test_a_watched_loader_gives_the_same_batches(prepared: Callable[[str], Prepared]) -> None:
    job = prepared("tiny").job(workers=2)
    plain, watched = whole(job)(), timed(job)()

    for (images, labels), (others, same) in zip(plain, watched, strict=True):
        assert np.array_equal(images, others)
        assert np.array_equal(labels, same)
    assert run_epoch(watched).figures.keys() > run_epoch(plain).figures.keys()
