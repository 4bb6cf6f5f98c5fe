"""The benchmark of the link stage measures what it says, and writes it down."""

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import link
from benchmarks.link import Run, make_photos, make_small, slope
from formwork.images.pixels import read_rgb

pytestmark = pytest.mark.slow

PAGE = "# Benchmarks\n\n<!-- begin link -->\nold\n<!-- end link -->\n\nthe rest\n"


def test_it_writes_its_section_and_its_figures(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(PAGE)
    photos = make_photos(tmp_path / "photos", 20)
    parser = argparse.ArgumentParser()
    link.add_arguments(parser)
    options = ["--files", "1000", "1100", "--photos", photos, "--rounds", "1", "--page", page, "--results", tmp_path]

    link.main(parser.parse_args(list(map(str, options))))

    text, results = page.read_text(), json.loads((tmp_path / "link.json").read_text())
    assert "| 1,000 | first |" in text
    assert "| 1,100 | again |" in text
    assert "old" not in text
    assert text.endswith("<!-- end link -->\n\nthe rest\n")
    for files, runs in results["runs"].items():
        for run in runs.values():
            assert run["files"] == int(files)
            assert run["files_per_second"] == pytest.approx(run["files"] / run["seconds"])
            assert run["peak_bytes"] > 10e6
    assert results["images_per_second"].keys() == {"32 x 32 PNG", "500 x 375 JPEG"}


def test_no_two_small_images_are_alike_and_all_are_sound(tmp_path: Path) -> None:
    images = [read_rgb(path) for path in make_small(tmp_path, 120).rglob("*.png")]

    assert {image.size for image in images} == {(32, 32)}
    assert len({image.tobytes() for image in images}) == 120


def test_the_slope_is_what_one_more_file_costs() -> None:
    assert slope([Run(100, 2.0, 1.0, 1000), Run(300, 6.0, 3.0, 2000)]) == {
        "seconds": 0.02,
        "cpu_seconds": 0.01,
        "bytes": 5.0,
    }
