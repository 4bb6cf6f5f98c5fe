"""Medians, spreads, and when a conversion has paid for itself."""

import pytest

from formwork.tools.compare.summary import FELL_BACK, FFCV, PYTORCH, Spread, pays_off_after
from tests.tools.compare.conftest import make_run, make_summary


@pytest.mark.parametrize(
    ("conversion", "ffcv", "pytorch", "epochs"),
    [
        (10, 1, 3, 5),
        (10.1, 1, 3, 6),
        (0.3, 0.1, 0.2, 3),  # 0.3 / (0.2 - 0.1) is no whole number for a computer
        (2, 1, 3, 1),
        (0.001, 1, 3, 1),
        (0, 1, 3, 1),
        (10, 3, 3, None),
        (10, 3, 1, None),
        (0, 3, 1, None),
    ],
)
def test_a_conversion_has_paid_for_itself_when_the_epochs_have_saved_as_much(conversion, ffcv, pytorch, epochs):
    assert pays_off_after(conversion, ffcv, pytorch) == epochs


def test_the_conversion_of_both_splits_is_paid_for_by_the_medians():
    runs = [*(make_run(True, seconds) for seconds in (1, 2, 9)), *(make_run(False, seconds) for seconds in (3, 4, 5))]
    summary = make_summary(*runs)
    assert summary.spread(FFCV, "seconds") == Spread(2, 1, 9)
    assert summary.spread(PYTORCH, "seconds") == Spread(4, 3, 5)
    assert summary.conversion_seconds == 5
    assert summary.pays_off_after == 3  # 2 seconds an epoch


@pytest.mark.parametrize("loader", ["pytorch", "train: pytorch, val: ffcv", "train: ffcv, val: pytorch"])
def test_what_fell_back_is_not_counted_as_ffcv(loader):
    """Nor is it the PyTorch loader that was asked for."""
    fallen, pytorch = make_run(True, 1.0, loader=loader), make_run(False, 3.0)
    summary = make_summary(fallen, pytorch, reason="The beton is missing.")
    assert summary.kinds == [FELL_BACK, PYTORCH]
    assert summary.of(FELL_BACK) == [fallen]
    assert summary.of(PYTORCH) == [pytorch]
    assert summary.pair is None
    assert summary.pays_off_after is None
    (note,) = summary.notes()
    assert "FFCV fell back in 1 of 1 runs" in note
    assert f"`{loader}`" in note
    assert "The beton is missing." in note


def test_some_runs_fell_back():
    summary = make_summary(make_run(True, 1.0), make_run(True, 9.0, loader="pytorch"), make_run(False, 3.0))
    assert summary.spread(FFCV, "seconds") == Spread(1, 1, 1)
    assert "FFCV fell back in 1 of 2 runs" in next(summary.notes())


def test_a_figure_that_a_run_lacks_is_none_of_its_kind():
    summary = make_summary(make_run(True, peak_memory_mb=None), make_run(True), make_run(False))
    assert summary.spread(FFCV, "peak_memory_mb") is None
    assert summary.spread(PYTORCH, "peak_memory_mb") == Spread(600, 600, 600)


def test_readers_are_told_what_the_runs_do_not_show():
    def notes(*runs):
        return " ".join(make_summary(*runs).notes())

    once = [make_run(True, 1.0), make_run(False, 2.0)]
    assert "One run of each" in notes(*once)
    assert notes(*once, make_run(True, 1.5)) == ""
    assert "overlap" in notes(*once, make_run(True, 2.5))
    assert "not deterministic" in notes(*once, make_run(True, 1.5, score=0.8))
    assert notes(*once, make_run(True, 1.5, score=0.8, seed=1)) == ""
