"""Speeds are of FFCVDataLoader alone, measured in turn."""

from dataclasses import replace

import numpy as np
import pytest

from formwork.errors import FormworkError
from formwork.tools.tune import speed
from tests.loading.conftest import dataset, make_config, make_split, split

__all__ = ["dataset", "make_split", "split"]  # fixtures


def test_contenders_are_measured_in_turn(split, monkeypatch):
    order = []
    real = speed._rate

    def rate(its_split, options):
        order.append(options.num_workers)
        return real(its_split, options)

    monkeypatch.setattr(speed, "_rate", rate)
    monkeypatch.setattr(speed, "SECONDS", 0)
    contenders = {number: (split, make_config(num_workers=number)) for number in (1, 2)}
    found = speed.measure(contenders, 3, "load")
    assert order == [1, 1, 2, 1, 2, 1, 2]  # the first to compile
    assert {name: len(rates.values) for name, rates in found.items()} == {1: 3, 2: 3}
    assert all(value > 0 for rates in found.values() for value in rates.values)


def test_a_rate_is_images_over_seconds(split, monkeypatch):
    """As many epochs as fill the time, after one that does not count."""
    clock = iter(np.arange(0, 100, 0.5).tolist())  # each look at the clock is half a second later
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(speed, "SECONDS", 2)
    monkeypatch.setattr("formwork.loading.base.WaitClock.watch", lambda self, batches: batches)
    assert speed._rate(split, make_config()) == 70 * 4 / 0.5


def test_all_images_by_sample_id(split):
    options = make_config([{"Resize": {}}], order="random", drop_last=True)
    images = speed.load(split, options)
    assert images.shape == (70, 20, 20, 3)
    assert images.dtype == np.uint8
    other = speed.load(split, replace(options, order="sequential", batch_size=7))
    assert np.array_equal(images, other)


def test_no_other_loader_stands_in(make_split):
    missing = make_split()
    missing.beton.unlink()
    with pytest.raises(FormworkError, match=r"cannot be had: .* is missing"):
        speed.open_loader(missing, make_config())
