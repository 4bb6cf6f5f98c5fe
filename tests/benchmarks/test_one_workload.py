"""The benchmarks of FFCVDataLoader on its own, and of what is around it, measure what they say."""

import argparse
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from benchmarks import cold, lightning, one_workload, reading, timesteps, verification, views
from benchmarks.lightning import ALONE, EMPTY, PLAIN, TRAINER, WHOLE, Spent, Turns, empty_loop
from benchmarks.reading import HELD, READ
from benchmarks.timesteps import COPIES, ONCE, STEPS, VIEWS
from benchmarks.workloads import Prepared
from tests.benchmarks.conftest import BATCH, IMAGES, LoaderHere

pytestmark = pytest.mark.slow


def run(module, options: list[str], prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command on a handful of images; gives the folder of the page."""
    monkeypatch.chdir(folder)  # DVCLive looks for a repository around it
    monkeypatch.setattr(one_workload, "prepare", lambda *_: prepared)
    name = module.__name__.rsplit(".", 1)[1]
    (folder / "page.md").write_text(f"<!-- begin {name} -->\n<!-- end {name} -->\n")
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    module.main(parser.parse_args([*options, "--page", str(folder / "page.md"), "--results", str(folder)]))
    return folder


def test_lightning_and_bare_loops_take_turns(
    prepared: Callable[[str], Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(lightning, ["--rounds", "2", "--workers", "1"], prepared("photo"), tmp_path, monkeypatch)

    results = json.loads((folder / "lightning.json").read_text())
    text = (folder / "page.md").read_text()
    for name in (ALONE, WHOLE):
        for loop in (TRAINER, EMPTY, PLAIN):
            assert len(results[name][loop]) == 2  # and one that warmed up
            for spent in results[name][loop]:
                assert 0 < spent["thread"] < spent["seconds"]
        assert f"| {name} |" in text
    assert f"1 worker, 2 steps of {BATCH} images" in text


def test_the_cost_is_that_of_an_epoch_over_the_bare_loop_of_its_round() -> None:
    turns = Turns(loader=[], plain=empty_loop)
    turns.spent[PLAIN] = [Spent(2.0, 0.1), Spent(4.0, 0.1)]
    turns.spent[TRAINER] = [Spent(2.1, 0.2), Spent(5.0, 0.2)]

    assert turns.costs(PLAIN) == pytest.approx([0.05, 0.25])


def test_timesteps_share_memory_and_copies_do_not(
    prepared: Callable[[str], Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run(timesteps, ["--rounds", "1", "--workers", "1"], prepared("photo"), tmp_path, monkeypatch)

    results = json.loads((folder / "timesteps.json").read_text())
    once = results[ONCE]["batch_bytes"]
    assert once == BATCH * 3 * 224 * 224 * 4
    assert results[VIEWS]["batch_bytes"] == once
    assert results[COPIES]["batch_bytes"] == STEPS * once
    assert results[COPIES]["process_peak_bytes"] > results[VIEWS]["process_peak_bytes"]
    assert f"({BATCH}, {STEPS}, 3, 224, 224)" in (folder / "page.md").read_text()


def test_images_count_once_however_many_views_they_have(
    prepared: Callable[[str], Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "LoaderProcess", LoaderHere)
    monkeypatch.setattr(views, "CHOSEN", views.CHOSEN[:1])

    folder = run(views, ["--rounds", "1", "--workers", "1"], prepared("photo"), tmp_path, monkeypatch)

    results = json.loads((folder / "views.json").read_text())
    for dtype in ("float32", "uint8"):
        rates = results[f"photo, jpg 256, {dtype}"]
        assert rates.keys() == {"1", "2", "4"}
        assert min(rates["1"]) > 0
    assert "| photo, jpg 256 | uint8 | 1 |" in (folder / "page.md").read_text()


def test_comparing_checksums_is_measured_in_first_and_later_epochs(
    prepared: Callable[[str], Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "LoaderProcess", LoaderHere)
    monkeypatch.setattr(verification, "WORKLOADS", verification.WORKLOADS[1:2])

    folder = run(verification, ["--rounds", "1", "--workers", "1"], prepared("photo"), tmp_path, monkeypatch)

    results = json.loads((folder / "verification.json").read_text())
    for epoch in verification.EPOCHS:
        for way in (verification.VERIFIED, verification.UNVERIFIED):
            assert len(results["photo, raw 256"][f"{epoch}, {way}"]["images_per_second"]) == 1
    text = (folder / "page.md").read_text()
    assert "| photo, raw 256 | first epoch |" in text
    assert text.count("| 5% |") == 1


def test_only_a_first_epoch_compares(prepared: Callable[[str], Prepared]) -> None:
    for load, pending in [
        (verification.first_verified, [True, True]),
        (verification.first_unverified, [False, False]),
        (verification.later_verified, [True, False]),
        (verification.later_unverified, [False, False]),
    ]:
        loader = load(prepared("photo").job(1))()
        for expected in pending:
            batches = iter(loader)
            source = batches.gi_frame.f_locals["self"].source  # of the loader that makes them
            assert source.verification.pending.all() == expected
            assert sum(len(labels) for _, labels in batches) == IMAGES
            assert not source.verification.pending.any()


def test_reading_is_measured_of_each_workload_either_way(
    prepared: Callable[[str], Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workloads = [prepared(kind).workload for kind in ("photo", "tiny")]
    monkeypatch.setattr(reading, "LoaderProcess", LoaderHere)
    monkeypatch.setattr(reading, "WORKLOADS", workloads)

    folder = run(reading, ["--rounds", "1", "--workers", "1"], prepared("photo"), tmp_path, monkeypatch)

    results = json.loads((folder / "reading.json").read_text())
    text = (folder / "page.md").read_text()
    for workload in workloads:
        assert f"| {workload.name} |" in text
        for way in (READ, HELD):
            assert len(results[workload.name][way]["images_per_second"]) == 1


def test_of_a_cold_disk_each_order_is_measured_over_the_disk_alone(
    prepared: Callable[[str], Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = prepared("photo").workload
    monkeypatch.setattr(cold, "LoaderProcess", LoaderHere)
    monkeypatch.setattr(cold, "WORKLOADS", {workload: 200})
    monkeypatch.setattr(cold, "slowed", lambda *_: nullcontext())  # not by this user

    folder = run(cold, ["--rounds", "1", "--workers", "1"], prepared("photo"), tmp_path, monkeypatch)

    results = json.loads((folder / "cold.json").read_text())[f"{workload.name}, as it is"]
    assert list(results) == list(cold.WAYS)
    assert all(found["bytes_per_second"][0] > 0 for found in results.values())
    assert f"| {workload.name} | as it is |" in (folder / "page.md").read_text()


def test_of_the_two_ways_one_reads_in_each_epoch(prepared: Callable[[str], Prepared]) -> None:
    stored = IMAGES // BATCH * BATCH * 32 * 32 * 3
    for load in (reading.read, reading.held):
        loader = load(prepared("tiny").job(workers=1))()
        list(loader)
        before = psutil.Process().io_counters().read_chars
        list(loader)
        read = psutil.Process().io_counters().read_chars - before
        assert (read >= stored) == (load is reading.read)
