"""The chart shows every setting and says what it shows."""

import math

import pytest

from formwork.tools.tune.chart import LINES_OF_KEY, draw
from tests.svg import texts
from tests.tools.tune.test_pick import SETTINGS, measured


def test_all_settings_have_a_number_and_a_line(tmp_path):
    numbered = dict(enumerate(SETTINGS, 1))
    draw(tmp_path / "a.svg", "a title", numbered, [1, 2], picked=4, now=1, budget=250, min_psnr=35)
    written = texts(tmp_path / "a.svg")
    for text in ("a title", "1", "2", "3", "4", "exact", "pick", "params.yaml now", "images/s"):
        assert text in written
    assert "budget, 250 B" in written
    assert "PSNR at least 35 dB" in written
    lines = [line.split() for line in written]
    assert ["2", "jpg", "full", "size", "q2", "200", "B", "40.00", "dB", "2,000"] in lines
    assert ["4", "jpg", "full", "size", "q4", "400", "B", "exact", "4,000"] in lines


def test_of_many_settings_the_best_have_a_number_and_a_line(tmp_path):
    many = {number: measured(number, number, 30 + number / 10, 1000) for number in range(1, 2 * LINES_OF_KEY)}
    draw(tmp_path / "a.svg", "many", many, [3, 5], picked=None, now=7, budget=1e9, min_psnr=math.inf)
    written = texts(tmp_path / "a.svg")
    assert {"3", "5", "7"} <= set(written)
    assert "11" not in written
    assert len([line for line in written if "full size" in line]) == 3
    assert any(line.startswith("Settings without a number") for line in written)
    assert "budget, 1 GB, beyond the chart" in written
    assert "pick" not in written

    draw(tmp_path / "b.svg", "many", many, list(many), picked=None, now=7, budget=1e9, min_psnr=math.inf)
    written = texts(tmp_path / "b.svg")
    assert len([line for line in written if "full size" in line]) == LINES_OF_KEY
    assert f"    and {len(many) - LINES_OF_KEY} more, in the table" in written


@pytest.mark.parametrize("one", [SETTINGS[0], SETTINGS[3]])
@pytest.mark.parametrize("min_psnr", [0, 35, math.inf])
def test_a_single_setting(tmp_path, one, min_psnr):
    draw(tmp_path / "a.png", "one", {1: one}, [1], picked=1, now=1, budget=1, min_psnr=min_psnr)
    assert (tmp_path / "a.png").stat().st_size > 10_000
