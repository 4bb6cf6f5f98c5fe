"""A comparison as text, as Markdown, as JSON and as a picture."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from formwork.tools.compare import tables
from formwork.tools.compare.chart import draw
from formwork.tools.compare.runs import Run
from tests.svg import texts
from tests.tools.compare.conftest import make_run, make_summary

PAIR = (make_run(True, 1.0), make_run(False, 3.0, first_batch_seconds=0.25, peak_memory_mb=1200.0))


def table(text: str) -> dict[str, list[str]]:
    """Cells by the title of their row, of a table with at least two spaces between its columns."""
    rows = (re.split(r"  +", line.strip()) for line in text.splitlines())
    return {title: cells for title, *cells in rows}


def test_one_run_of_each():
    rows = table(tables.text(make_summary(*PAIR)))
    assert rows["FFCV"] == ["PyTorch", "FFCV is"]
    assert rows["accuracy"] == ["0.9000", "0.9000", "equal"]
    assert rows["accuracy on test"] == ["0.8000", "0.8000", "equal"]
    assert rows["an epoch, s"] == ["1.00", "3.00", "3.00 x faster"]
    assert rows["images/s"] == ["100", "33.3", "3.00 x more"]
    assert rows["waiting for data, s an epoch"] == ["0.500", "1.50", "3.00 x less"]
    assert rows["share of an epoch spent waiting"] == ["50.0 %", "50.0 %"]
    assert rows["time to first batch, s"] == ["0.500", "0.250", "2.00 x slower"]
    assert rows["peak memory, MB"] == ["600", "1,200", "2.00 x less"]
    assert rows["conversion, s, once"] == ["5.00", "-"]
    assert rows["conversion has paid for itself"] == ["after 3 epochs", "-"]


def test_several_runs_have_a_median_and_a_range():
    rows = table(tables.text(make_summary(*PAIR, make_run(True, 1.2), make_run(True, 0.9, score=0.8))))
    assert rows["FFCV, 3 runs"] == ["PyTorch", "FFCV is"]
    assert rows["an epoch, s"] == ["1.00 (0.900 to 1.20)", "3.00", "3.00 x faster"]
    assert rows["accuracy"] == ["0.9000 (0.8000 to 0.9000)", "0.9000", "equal"]


@pytest.mark.parametrize(
    ("pytorch", "said"),
    [
        (7.0, "from the first epoch"),
        (1.5, "after 10 epochs"),
        (1.25, "after 20 epochs, not in 10"),
        (1.0, "never"),
        (0.5, "never"),
    ],
)
def test_when_the_conversion_has_paid_for_itself(pytorch, said):
    summary = make_summary(make_run(True, 1.0), make_run(False, pytorch))
    assert table(tables.text(summary))["conversion has paid for itself"] == [said, "-"]


def test_ratios_of_nothing():
    """No memory where it cannot be measured, and no waiting."""
    nothing = {"peak_memory_mb": None, "waiting_seconds": 0.0, "waiting_share": 0.0}
    rows = table(tables.text(make_summary(make_run(True, **nothing), make_run(False))))
    assert rows["peak memory, MB"] == ["-", "600"]
    assert rows["waiting for data, s an epoch"] == ["0.000", "1.00", "less"]
    rows = table(tables.text(make_summary(make_run(True, **nothing), make_run(False, **nothing))))
    assert rows["waiting for data, s an epoch"] == ["0.000", "0.000"]


def test_a_fallback_has_a_column_of_its_own_and_no_ratio():
    fallen = make_summary(make_run(True, loader="pytorch"), make_run(False), reason="train.beton is damaged.")
    text = tables.text(fallen)
    assert table(text)["FFCV fell back"] == ["PyTorch"]
    assert table(text)["conversion has paid for itself"] == ["-", "-"]
    assert not re.search(r"\d x ", text)
    assert "train.beton is damaged." in text
    page = tables.markdown(fallen, "command")
    assert "| FFCV fell back | PyTorch |" in page
    assert "train.beton is damaged." in page
    assert tables.figures(fallen, "command")["summary"].keys() == {"FFCV fell back", "PyTorch"}


def test_the_page_has_every_run_and_how_to_repeat_it():
    page = tables.markdown(make_summary(*PAIR, make_run(True, 1.5, seed=7, source="experiment x")), "compare --seeds 2")
    assert page.startswith("# FFCV and PyTorch on shapes\n\n|  | FFCV, 2 runs | PyTorch | FFCV is |\n| --- |")
    assert "10 epochs; `compare --seeds 2` on CPU, cores 2." in page
    assert "| ffcv | ffcv | 7 | 0.9000 | 0.8000 | 1.50 | 66.7 | 0.750 | 50.0 % | 0.500 | 600 | experiment x |" in page
    assert page.count("| the workspace |") == 2


def test_figures_for_programs():
    found = json.loads(json.dumps(tables.figures(make_summary(*PAIR, make_run(True, 2.0)), "command")))
    assert found["summary"]["FFCV"]["seconds"] == {"median": 1.5, "low": 1.0, "high": 2.0}
    assert found["conversion_seconds"] == {"train": 4.0, "val": 1.0}
    assert found["pays_off_after_epochs"] == 4
    assert found["conversion_has_paid_for_itself"] == "after 4 epochs"
    assert [(run["asked_for"], run["fell_back"], run["seconds"]) for run in found["runs"]] == [
        ("ffcv", False, 1.0),
        ("pytorch", False, 3.0),
        ("ffcv", False, 2.0),
    ]


def picture(path: Path, *runs: Run, **changes: object) -> list[str]:
    """What is written in it."""
    draw(make_summary(*runs, **changes), path)
    return texts(path)


def test_the_picture_shows_every_figure(tmp_path):
    path = tmp_path / "compare.svg"
    ffcv = make_run(True, 1.03, first_batch_seconds=0.253, peak_memory_mb=613.0, score=0.9123)
    pytorch = make_run(False, 3.07, first_batch_seconds=0.571, peak_memory_mb=1217.0, score=0.9234)
    found = picture(path, ffcv, pytorch)
    assert found[-1] == "shapes, 10 epochs, on CPU, cores 2"
    values = {"1.03", "3.07", "97.1", "32.6", "0.253", "0.571", "613", "1,217", "0.9123", "0.9234", "after 3 epochs"}
    assert values < set(found)
    before = path.read_bytes()
    picture(path, ffcv, pytorch)
    assert path.read_bytes() == before
    picture(path, replace(ffcv, waiting_seconds=0.1), pytorch)
    assert path.read_bytes() != before


def test_the_picture_of_several_runs_says_what_the_lines_are(tmp_path):
    found = picture(tmp_path / "compare.svg", *PAIR, make_run(True, 1.5))
    assert found[-1].endswith("; bars are medians, lines the range of all runs")


def test_the_picture_of_a_fallback_has_no_bar_of_ffcv(tmp_path):
    found = picture(tmp_path / "compare.svg", make_run(True, loader="pytorch"), make_run(False))
    assert "FFCV fell back" in found
    assert "FFCV" not in found
    assert not [line for line in found if line.startswith("after ")]


def test_a_picture_without_memory_and_of_one_that_never_pays_off(tmp_path):
    ffcv, pytorch = make_run(True, 3.0, peak_memory_mb=None), make_run(False, 1.0, peak_memory_mb=613.0)
    found = picture(tmp_path / "compare.svg", ffcv, pytorch)
    assert "never" in found
    assert "613" in found
