"""A slice of `make fuzz ARGS=images`; what it has found is a test of its own beside the code."""

import subprocess
import sys

import pytest

from tests.fuzz import images
from tests.workspace import ROOT


def test_no_other_pixels_and_no_fault_of_the_kernels() -> None:
    outcomes = [images.case(seed) for seed in range(400)]

    assert len(set(outcomes)) > 8
    assert outcomes.count("decode: the pixels of libjpeg-turbo") > 20


@pytest.mark.slow
def test_the_command() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "images", "--count", "30", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("images: 30 inputs in ")
    assert ", 0 failures\n" in done.stdout
