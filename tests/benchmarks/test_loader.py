"""The loader benchmark as a command."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import contenders, loader, peers
from benchmarks.loader import Contender, default_workers
from benchmarks.loader_page import FFCV, LIBJPEG, PIL, RESIZED, Measured
from benchmarks.loader_process import First
from benchmarks.workloads import Prepared
from formwork.errors import FormworkError
from tests.benchmarks.conftest import BATCH, IMAGES, LoaderHere
from tests.benchmarks.test_loader_page import measured

pytestmark = pytest.mark.slow

PAGE = "# Benchmarks\n\n<!-- begin loader -->\nwhat stood there\n<!-- end loader -->\n\nthe rest\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """run("--quick", ...): the command in a folder with a page, which it gives; nothing is prepared or measured."""
    seen: list[tuple] = []

    def measure(prepared: str, workers: list[int], rounds: int, with_peers: bool, once: bool) -> Measured:
        seen.append((prepared, workers, rounds, with_peers, once))
        return measured(prepared)

    monkeypatch.setattr(loader, "prepare", lambda workload, folder, images: workload.name)
    monkeypatch.setattr(loader, "measure", measure)
    (tmp_path / "benchmarks.md").write_text(PAGE)

    def go(*options: str) -> Path:
        parser = argparse.ArgumentParser()
        loader.add_arguments(parser)
        places = ["--page", tmp_path / "benchmarks.md", "--results", tmp_path]
        loader.main(parser.parse_args([*options, *map(str, places)]))
        return tmp_path

    go.seen = seen
    return go


def test_it_writes_its_section_its_chart_and_its_figures(run: Callable[..., Path]) -> None:
    folder = run("--workers", "2,1", "--rounds", "3")

    text, results = (folder / "benchmarks.md").read_text(), json.loads((folder / "loader.json").read_text())
    assert text.endswith("<!-- end loader -->\n\nthe rest\n")
    assert "what stood there" not in text
    assert "(bench_loader.svg)" in text
    assert (folder / "bench_loader.svg").is_file()
    assert "`python benchmarks/run.py loader --workers 1,2 --rounds 3` on " in text
    assert list(results["workloads"]) == [workload.name for workload in loader.LOADED]
    assert {"cpu", "cores", "torch", "commit"} <= results["machine"].keys()
    # What takes long and is always the same is measured on the first workload alone.
    assert [once for *_, once in run.seen] == [True, False, False, False, False, False]
    assert {tuple(workers) for _, workers, *_ in run.seen} == {(1, 2)}


def test_quick_and_only_write_nothing(run: Callable[..., Path], capsys: pytest.CaptureFixture) -> None:
    folder = run("--quick")
    assert "Where Formwork loses" in capsys.readouterr().out
    run("--only", "photo")
    assert [name for name, *_ in run.seen[6:]] == [
        *("photo, jpg 256", "photo, raw 256", "photo, originals"),
        "photo, originals, restart markers",
    ]
    assert [path.name for path in folder.iterdir()] == ["benchmarks.md"]
    assert (folder / "benchmarks.md").read_text() == PAGE


def test_a_workload_that_does_not_exist_is_an_error(run: Callable[..., Path]) -> None:
    with pytest.raises(
        FormworkError, match=r"--only photo, jpeg 256: no such workload\. Did you mean 'photo, jpg 256'"
    ):
        run("--only", "photo, jpeg 256")


@pytest.mark.parametrize("options", [("--workers", "1,x"), ("--workers", "0"), ("--rounds", "0")])
def test_numbers_that_are_none_are_refused(
    options: tuple[str, str], run: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        run(*options)
    assert "is no number from 1 on" in capsys.readouterr().err


def test_peers_that_are_not_installed_are_an_error(
    run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = tmp_path / "requirements-peers.txt"
    requirements.write_text("# why\nnumpy==0.1  # because\nno-such-package==1.0\n")
    monkeypatch.setattr(peers, "REQUIREMENTS", requirements)

    with pytest.raises(FormworkError) as error:
        run("--peers")

    assert "2 of the 2 packages in benchmarks/requirements-peers.txt" in str(error.value)
    assert "no-such-package 1.0 (missing)" in str(error.value)
    assert "`.venv/bin/pip install --no-deps -r benchmarks/requirements-peers.txt`" in str(error.value)
    assert not run.seen


def test_workers_are_powers_of_two_and_the_cores() -> None:
    assert default_workers(1) == [1]
    assert default_workers(2) == [1, 2]
    assert default_workers(6) == [1, 2, 4, 6]
    assert default_workers(16) == [1, 2, 4, 8, 16]


def test_peers_get_the_jpegs_that_the_beton_holds_or_has_decoded() -> None:
    named = {w.name: [c.name for c in loader.contenders_of(w, with_peers=True)] for w in loader.LOADED}
    there = {name: [peer for peer in [*peers.PEERS, *peers.PEERS_DECODED] if peer in named[name]] for name in named}

    assert there == {
        "photo, jpg 256": [*peers.PEERS],
        "photo, raw 256": [*peers.PEERS_DECODED],
        "photo, originals": [*peers.PEERS],
        "tiny, raw": [],
        "digit, raw": [],
        "photo, originals, restart markers": [],
    }
    assert not {*peers.PEERS, *peers.PEERS_DECODED} & {
        c.name for w in loader.LOADED for c in loader.contenders_of(w, with_peers=False)
    }


def test_all_contenders_of_a_workload_are_measured_on_its_images(
    prepared: Callable[[str], Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loader, "ALWAYS", (loader.ALWAYS[0], Contender(PIL, contenders.pytorch_pil)))
    monkeypatch.setattr(loader, "FIRST_ROUNDS", 1)
    monkeypatch.setattr(loader, "LoaderProcess", LoaderHere)

    found = loader.measure(prepared("photo"), [1], rounds=1, with_peers=False, once=False)

    assert list(found.rates[1]) == [FFCV, PIL, RESIZED, LIBJPEG]
    assert all(len(rates.values) == 1 and min(rates.values) > 0 for rates in found.rates[1].values())
    assert found.layouts == {PIL: "contiguous", FFCV: "channels_last", RESIZED: "contiguous", LIBJPEG: ""}
    assert found.first.keys() == {PIL, FFCV, RESIZED}
    assert found.uncompiled is None
    assert found.converted.images == IMAGES


def test_tensors_of_another_kind_cannot_be_compared(prepared: Callable[[str], Prepared]) -> None:
    photos = prepared("photo")
    epoch = loader.Epoch(16, [BATCH, 3, 224, 224], "float32", "contiguous", 1)
    assert loader._checked("x", epoch, photos) == "contiguous"
    for wrong in (replace(epoch, dtype="uint8"), replace(epoch, shape=[BATCH, 224, 224, 3])):
        with pytest.raises(FormworkError, match=r"x gives .* on photo, jpg 256, and not float32"):
            loader._checked("x", wrong, photos)
    assert loader._normalised("x", First(0.5, -2.1, 2.6)) == 0.5
    for low, high in ((0, 1), (0, 255), (-1, 1)):
        with pytest.raises(FormworkError, match="its images are not normalised"):
            loader._normalised("x", First(0.5, low, high))
