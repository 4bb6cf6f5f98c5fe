"""Intervals of metrics: right in how often they hold, the same on every day, and of units rather than of images."""

import numpy as np
import pytest
from scipy import stats

from formwork.evaluation.assess import Bootstrap, assess
from formwork.evaluation.bootstrap import interval, resamples, share_interval, units_of
from formwork.evaluation.predictions import Predictions
from formwork.images.manifest import write_manifest
from formwork.images.row import Columns, Row
from tests.evaluation.test_metrics import of_classes, settings


def half_right(images: int, right: np.ndarray) -> Predictions:
    """Two classes, each image called as `right` says."""
    targets = np.arange(images) % 2
    sure = np.where(right[:, None] == (np.arange(2) == targets[:, None]), 0.8, 0.2)
    return of_classes(targets, sure)


def test_intervals_are_those_of_scipy() -> None:
    values = np.random.default_rng(0).normal(size=60)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=0).confidence_interval
    means = [values @ times / 60 for times in resamples(np.arange(60), 20_000, 0, "val")]
    assert interval(np.concatenate(means)) == pytest.approx(list(theirs), abs=0.01)


def test_an_interval_holds_the_true_accuracy_nearly_always() -> None:
    """Of 95 % intervals for 100 images, with an accuracy of 0.7 in truth: about 94 % hold it."""
    random, held = np.random.default_rng(0), 0
    for trial in range(200):
        predictions = half_right(100, random.random(100) < 0.7)
        found = assess(predictions, settings("classes", 2), np.arange(100), Bootstrap(200, trial, "val"))
        low, high = found.intervals["accuracy"]
        held += low <= 0.7 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_images_of_one_unit_are_drawn_together_and_make_an_interval_wider() -> None:
    units = np.repeat(np.arange(20), 10)
    for times in resamples(units, 50, 0, "val"):
        assert (times.reshape(20, 10, -1) == times[::10, None]).all()
        assert (times.sum(axis=0) == 200).all()
    right = np.random.default_rng(0).random(20)[units] < 0.7  # all of a unit, or none
    width = [
        np.diff(
            assess(half_right(200, right), settings("classes", 2), of, Bootstrap(500, 0, "val")).intervals["accuracy"]
        )
        for of in (np.arange(200), units)
    ]
    assert width[1] > 2.5 * width[0]  # by the square root of 10, about


def test_blocks_decide_nothing() -> None:
    units = np.arange(1000) // 2
    few = np.concatenate(list(resamples(units, 5, 0, "val")), axis=1)
    many = np.concatenate(list(resamples(units, 130, 0, "val")), axis=1)
    assert np.array_equal(many[:, :5], few)
    assert not np.array_equal(few, np.concatenate(list(resamples(units, 5, 1, "val")), axis=1))
    assert not np.array_equal(few, np.concatenate(list(resamples(units, 5, 0, "test")), axis=1))


def test_groups_and_copies_are_units(tmp_path) -> None:
    named = [("", "a"), ("p", "b"), ("p", "c"), ("", "c"), ("q", "d"), ("", "a"), ("", "e")]
    rows = [
        Row(f"{place}.png", "x", 0, 1, 8, 8, "L", "PNG", content * 64, group=group)
        for place, (group, content) in enumerate(named)
    ]
    units = units_of(write_manifest(tmp_path / "val.csv", rows, Columns(groups=True)))
    assert [np.flatnonzero(units == unit).tolist() for unit in range(4)] == [[0, 5], [1, 2, 3], [4], [6]]
    alone = [Row(row.path, "x", 0, 1, 8, 8, "L", "PNG", row.sha256) for row in rows]
    assert len(np.unique(units_of(write_manifest(tmp_path / "test.csv", alone)))) == 5


def test_where_all_images_are_right_the_exact_interval_stands_in() -> None:
    found = assess(half_right(60, np.ones(60, bool)), settings("classes", 2), np.arange(60), Bootstrap(100, 0, "val"))
    assert found.intervals["accuracy"] == pytest.approx([stats.binomtest(60, 60).proportion_ci().low, 1])
    assert found.part_intervals["accuracy"][0] == pytest.approx([stats.binomtest(30, 30).proportion_ci().low, 1])
    assert np.isnan(found.intervals["macro_f1"]).all()
    wrong = assess(
        half_right(60, np.zeros(60, bool)), settings("classes", 2), np.arange(60) // 2, Bootstrap(9, 0, "val")
    )
    assert wrong.intervals["accuracy"] == pytest.approx([0, stats.binomtest(0, 30).proportion_ci().high])
    unknown = np.array([np.nan, np.nan])
    assert np.isnan(share_interval(unknown, np.array(0.5), np.array(9))).all()


@pytest.mark.parametrize("images", [1, 2])
def test_of_one_unit_nothing_is_known(images: int) -> None:
    predictions = half_right(images, np.ones(images, bool))
    assert not assess(predictions, settings("classes", 2), np.zeros(images, int), Bootstrap(50, 0, "val")).intervals


def test_the_calibration_error_lies_in_its_interval() -> None:
    """That of a model which is as sure as it is right: resamples alone would all lie above it."""
    random = np.random.default_rng(1)
    sure = random.uniform(0.5, 1, 300)
    predictions = half_right(300, random.random(300) < sure)
    answers = np.where(predictions.answers > 0.5, sure[:, None], 1 - sure[:, None])
    found = assess(
        of_classes(predictions.targets, answers), settings("classes", 2), np.arange(300), Bootstrap(300, 0, "val")
    )
    low, high = found.intervals["ece"]
    assert 0 <= low < found.metrics["ece"] < high


def test_classes_that_resamples_lack() -> None:
    predictions = half_right(3, np.array([True, False, True]))
    found = assess(predictions, settings("classes", 3), np.arange(3), Bootstrap(200, 0, "val"))
    assert np.isnan(found.part_intervals["accuracy"][2]).all()
    assert not np.isnan(found.part_intervals["accuracy"][:2]).any()
