"""The comparison of accuracies: its arithmetic, and that it really trains with both loaders."""

import argparse

import pytest

from benchmarks.accuracy import describe, measure

pytestmark = pytest.mark.slow

ARGUMENTS = argparse.Namespace(images=100, resolution=64, epochs=3)


def test_the_difference_is_paired_by_seed():
    text = describe({"FFCVDataLoader": [0.5, 0.7, 0.9], "PyTorchDataLoader": [0.49, 0.72, 0.89]}, ARGUMENTS)
    assert "| 1 | 70.0% | 72.0% |" in text
    assert "| mean ± standard deviation | 70.0% ± 20.0% | 70.0% ± 20.1% |" in text
    assert "Mean difference +0.00 points, standard error 1.00." in text  # of 1, -2 and 1


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")
def test_both_loaders_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = measure(tmp_path, seeds=1, images=50, epochs=1, resolution=32)
    assert {name: len(values) for name, values in found.items()} == {"FFCVDataLoader": 1, "PyTorchDataLoader": 1}
    assert all(0 <= value <= 1 for values in found.values() for value in values)
