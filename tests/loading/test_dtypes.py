"""Batches of every type: the same images, rounded as torch rounds."""

import numpy as np
import pytest
import torch

from formwork.loading.dtypes import STORED, normalise, shift_and_scale
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from tests.loading.conftest import make_config

DTYPES = list(STORED)


def images(loader) -> torch.Tensor:
    return torch.cat([images.clone() for images, _ in loader])


@pytest.mark.parametrize("dtype", DTYPES)
def test_both_loaders_give_the_same_images_of_the_type(split, dtype):
    options = make_config(dtype=dtype)
    ours, theirs = (loader(split, options) for loader in (FFCVDataLoader, PyTorchDataLoader))
    for (found, _), (expected, _) in zip(ours, theirs, strict=True):
        for batch in (found, expected):
            assert batch.dtype == getattr(torch, dtype)
            assert batch.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_float32_rounded(split, dtype):
    # A deviation so small that float16 overflows to infinity for some values, and is subnormal for others.
    for std in ((0.2, 0.3, 0.4), (1e-6, 5e-5, 1e3)):
        exact = images(FFCVDataLoader(split, make_config(std=std)))
        found = images(FFCVDataLoader(split, make_config(std=std, dtype=dtype)))
        assert torch.equal(found, exact.to(getattr(torch, dtype)))
    assert dtype == "bfloat16" or found.isinf().any()


def test_uint8_normalised_on_the_device_is_float32(split):
    options = make_config()
    pixels = images(FFCVDataLoader(split, make_config(dtype="uint8")))
    assert torch.equal(normalise(pixels, options.normal), images(FFCVDataLoader(split, options)))


def test_images_of_a_sequence_are_normalised_once(split):
    sequence, _ = next(iter(FFCVDataLoader(split, make_config(dtype="uint8", timesteps=5))))
    found = normalise(sequence, make_config().normal)
    assert found.shape == sequence.shape
    assert found.stride(1) == 0
    assert torch.equal(found[:, 4], normalise(sequence[:, 0], make_config().normal))


def test_what_is_normalised_stays_as_it_is():
    batch = torch.ones(2, 3, 4, 4, dtype=torch.float16)
    assert normalise(batch, shift_and_scale([0.5] * 3, [0.2] * 3)) is batch


def test_shift_and_scale_are_those_of_eight_bits():
    shift, scale = shift_and_scale([0.0, 0.5, 1.0], [1.0, 0.5, 0.25])
    values = (np.array([255, 255, 255], np.float32) - shift) * scale
    assert values == pytest.approx([1.0, 1.0, 0.0])
