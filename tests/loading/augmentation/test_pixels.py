"""Pixel operations: the kernel and the torch function give the same pixels, and those are what their names promise."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from formwork.loading.augmentation import NATIVE
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.base import UNIT, Draw, PixelOperation
from formwork.loading.augmentation.blur import GaussianBlur
from formwork.loading.augmentation.colour import BRIGHTNESS, CONTRAST, HUE, SATURATION, ColorJitter
from formwork.loading.augmentation.erase import Cutout, RandomErasing
from formwork.loading.augmentation.geometry import RandomCrop, RandomHorizontalFlip
from formwork.loading.augmentation.mirror import on_pixels
from formwork.loading.ffcv.operations import FFCVOperation

OPERATIONS = [
    ("ColorJitter", {"brightness": 0.8, "contrast": 0.8, "saturation": 2.0, "hue": 0.5}),
    ("ColorJitter", {"contrast": [0, 250]}),
    ("ColorJitter", {"saturation": [3, 256], "brightness": [0, 256]}),
    ("ColorJitter", {"hue": [-0.5, -0.4]}),
    ("Grayscale", {"p": 0.5}),
    ("RandomGrayscale", {}),
    ("Solarize", {"threshold": 0, "p": 0.5}),
    ("RandomSolarize", {"threshold": 200}),
    ("RandomPosterize", {"bits": 3}),
    ("RandomPosterize", {"bits": 0, "p": 0.1}),
    ("RandomInvert", {}),
    ("RandomAutocontrast", {"p": 0.9}),
    ("RandomEqualize", {"p": 0.9}),
    ("RandomAdjustSharpness", {"sharpness_factor": 0.3}),
    ("RandomAdjustSharpness", {"sharpness_factor": 256}),
    ("RandomPhotometricDistort", {}),
    ("RandomChannelPermutation", {}),
    ("GaussianBlur", {"kernel_size": 7, "p": 0.7}),
    ("GaussianBlur", {"kernel_size": 1}),
    ("GaussianBlur", {"kernel_size": 23, "sigma": [0.01, 50]}),
    ("GaussianNoise", {}),
    ("GaussianNoise", {"mean": 0.3, "sigma": 2, "clip": False, "p": 0.7}),
    ("PoissonNoise", {"photons": 5}),
    ("RandAugment", {"interpolation": "bilinear", "fill": [1, 2, 3]}),
    ("TrivialAugmentWide", {}),
    ("AutoAugment", {"fill": 7}),
    ("AugMix", {"severity": 10}),
    ("Cutout", {"crop_size": 5, "fill": [10, 20, 30]}),
    ("RandomErasing", {"value": 255}),
    ("RandomErasing", {"p": 1, "scale": [0.5, 1.0], "ratio": [1, 1]}),
    ("RandomHorizontalFlip", {}),
    ("RandomVerticalFlip", {}),
    ("RandomCrop", {"padding": 3, "fill": [1, 2, 3]}),
    ("RandomCrop", {"padding": 40}),
    ("RandomRotation", {"degrees": 180}),
    ("RandomRotation", {"degrees": [-90, 360], "interpolation": "bilinear", "center": [3, 5], "fill": [9, 200, 90]}),
    ("RandomAffine", {"degrees": 30, "translate": [1, 0.2], "scale": [0.3, 3], "shear": [0, 50, -20, 89]}),
    ("RandomPerspective", {"distortion_scale": 1, "fill": 77}),
    ("RandomPerspective", {"p": 0.9, "interpolation": "nearest"}),
    ("RandomAffine", {"degrees": 0, "scale": [0.0001, 9999], "interpolation": "bilinear", "fill": None}),
    ("ffcv.Cutout", {"crop_size": 1}),
    ("ffcv.RandomTranslate", {"padding": 2}),
]


STOCK = {name: FFCVOperation(name[5:], arguments) for name, arguments in OPERATIONS if name.startswith("ffcv.")}
"""One of each for all tests: they are compiled anew for each object."""
CASES = [pytest.param(*case, marks=[pytest.mark.slow] if case[0] in STOCK else []) for case in OPERATIONS]


def make(name: str, arguments: dict) -> PixelOperation:
    operation = STOCK.get(name) or NATIVE[name](**arguments)
    return operation if isinstance(operation, PixelOperation) else on_pixels(operation)


def pictures(count: int, size: int) -> np.ndarray:
    """(count, size, size, 3) uint8: noise, and among it images of one colour, of grey, of extremes."""
    rng = np.random.default_rng(size)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    images[0] = (200, 30, 90)
    images[1] = images[1, ..., :1]
    images[2] = rng.choice([0, 255], images[2].shape)
    images[3] = images[3] // 2 + 40
    return images


def draw(count: int, epoch: int = 3) -> Draw:
    return Draw(7, epoch, np.arange(count) * 5, "test")


@pytest.mark.parametrize("size", [1, 2, 13, 32])
@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_both_forms_give_the_same_pixels(name, arguments, size):
    operation, images = make(name, arguments), pictures(24, size)
    values = np.ascontiguousarray(operation.draw(draw(24), size), np.int64)
    expected = [
        operation.function(torch.from_numpy(i).permute(2, 0, 1), v.tolist())
        for i, v in zip(images, values, strict=True)
    ]
    assert all(image.dtype == torch.uint8 for image in expected)
    found = images.copy()
    operation.kernel(found[:10], values[:10])  # in parts, as threads call it
    operation.kernel(found[10:], values[10:])
    assert np.array_equal(found, torch.stack(expected).permute(0, 2, 3, 1).numpy())
    if size == 32:
        assert not np.array_equal(found, images) or arguments == {"kernel_size": 1}


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_what_is_drawn_depends_on_seed_epoch_and_sample_alone(name, arguments):
    operation = make(name, arguments)
    values = operation.draw(draw(500), 32)
    some = np.array([3, 77, 499])
    assert np.array_equal(operation.draw(Draw(7, 3, some * 5, "test"), 32), values[some])
    if arguments != {"kernel_size": 1}:
        assert not np.array_equal(operation.draw(draw(500, epoch=4), 32), values)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1.0, 1.7, 9.0])
@pytest.mark.parametrize(
    ("step", "theirs"),
    [
        (BRIGHTNESS, tv.adjust_brightness),
        (CONTRAST, tv.adjust_contrast),
        (SATURATION, tv.adjust_saturation),
    ],
)
def test_one_step_of_jitter_is_torchvisions(step, theirs, factor):
    images = pictures(8, 32)
    values = np.tile([BRIGHTNESS, CONTRAST, SATURATION, HUE, UNIT, UNIT, UNIT, 0], (8, 1))
    values[:, 4 + step] = round(factor * UNIT)
    expected = theirs(torch.from_numpy(images).permute(0, 3, 1, 2), factor).permute(0, 2, 3, 1).int().numpy()
    ColorJitter.kernel(images, values)
    assert np.abs(images - expected).max() <= 1


@pytest.mark.parametrize("turn", [-0.5, -0.2, 0.05, 0.33, 0.5])
def test_turning_the_hue_is_torchvisions(turn):
    images = pictures(8, 32)
    values = np.tile([HUE, CONTRAST, SATURATION, BRIGHTNESS, UNIT, UNIT, UNIT, round(turn * 6 * UNIT)], (8, 1))
    expected = tv.adjust_hue(torch.from_numpy(images).permute(0, 3, 1, 2), turn).permute(0, 2, 3, 1).int().numpy()
    ColorJitter.kernel(images, values)
    assert np.abs(images - expected).max() <= 1


def test_jitter_covers_its_ranges_and_all_orders():
    values = ColorJitter(brightness=0.5, contrast=[0.2, 0.4], hue=0.1).draw(draw(5000), 32)
    low, high = values[:, 4:].min(axis=0) / UNIT, values[:, 4:].max(axis=0) / UNIT
    assert low == pytest.approx([0.5, 0.2, 1, -0.6], abs=0.01)
    assert high == pytest.approx([1.5, 0.4, 1, 0.6], abs=0.01)
    orders, counts = np.unique(values[:, :4], axis=0, return_counts=True)
    assert len(orders) == 24
    assert counts.min() > 5000 / 24 * 0.6


@pytest.mark.parametrize(("kernel_size", "sigma"), [(3, 0.5), (9, 1.7), (23, 6.0), (5, 100.0)])
def test_blur_is_torchvisions(kernel_size, sigma):
    images = pictures(4, 32)
    operation = GaussianBlur(kernel_size, sigma)
    theirs = tv.gaussian_blur(torch.from_numpy(images).permute(0, 3, 1, 2), [kernel_size] * 2, [sigma] * 2)
    values = operation.draw(draw(4), 32)
    assert np.all(values.sum(axis=1) == values[0].sum())
    operation.kernel(images, values)
    assert np.abs(images - theirs.permute(0, 2, 3, 1).int().numpy()).max() <= 1


@pytest.mark.parametrize("threshold", [0, 100, 255])
def test_solarize_and_grey_are_torchvisions(threshold):
    for name, arguments, theirs in (
        ("Solarize", {"threshold": threshold}, lambda x: tv.solarize(x, threshold)),
        ("Grayscale", {}, lambda x: tv.rgb_to_grayscale(x, 3)),
    ):
        operation, images = make(name, arguments), pictures(4, 32)
        expected = theirs(torch.from_numpy(images).permute(0, 3, 1, 2)).permute(0, 2, 3, 1).int().numpy()
        operation.kernel(images, operation.draw(draw(4), 32))
        assert np.array_equal(images, expected)


@pytest.mark.parametrize("operation", [RandomHorizontalFlip(), RandomCrop(3, [1, 2, 3]), RandomCrop(9)])
def test_on_pixels_a_flip_or_shift_is_what_it_is_in_a_plan(operation):
    """As PyTorchDataLoader carries plans out."""
    augmentation = Augmentation([{"Resize": {}}], 8, 0)
    plan = augmentation.plan(0, np.arange(40), np.full(40, 8), np.full(40, 8))
    operation.apply(plan, np.full(40, 8), np.full(40, 8), 8, draw(40))
    images = pictures(40, 8)
    expected = []
    for image, (dy, dx), flip in zip(images, plan.shift, plan.flip, strict=True):
        padded = np.tile(plan.fill, (26, 26, 1))
        padded[9:17, 9:17] = image
        shifted = padded[9 + dy : 17 + dy, 9 + dx : 17 + dx]
        expected.append(shifted[:, ::-1] if flip else shifted)
    pixel = on_pixels(operation)
    pixel.kernel(images, pixel.draw(draw(40), 8))
    assert np.array_equal(images, np.stack(expected))


def test_a_vertical_flip_is_torchvisions_in_half_of_the_cases():
    images = pictures(200, 9)
    values = NATIVE["RandomVerticalFlip"]().draw(draw(200), 9)
    assert 70 < values[:, 1].sum() < 130
    expected = [tv.vertical_flip(torch.from_numpy(i).permute(2, 0, 1)) for i in images[values[:, 1] == 1]]
    NATIVE["RandomVerticalFlip"].kernel(images, values)
    assert np.array_equal(images[values[:, 1] == 1], torch.stack(expected).permute(0, 2, 3, 1).numpy())


def test_cutout_lies_inside_and_everywhere():
    values = Cutout(crop_size=5, fill=9).draw(draw(3000), 8)
    top, left, bottom, right, *colour = values.T
    assert np.all(bottom - top == 5)
    assert np.all(right - left == 5)
    assert set(top) == set(left) == {0, 1, 2, 3}
    assert np.all(np.array(colour) == 9)
    assert np.array_equal(Cutout(crop_size=50).draw(draw(2), 8)[:, :4], [[0, 0, 8, 8]] * 2)


def test_erasing_keeps_to_its_ranges():
    values = RandomErasing(p=0.6, scale=(0.1, 0.3), ratio=(0.5, 2)).draw(draw(4000), 100)
    top, left, bottom, right = values[:, :4].T
    height, width = bottom - top, right - left
    erased = height > 0
    assert 0.57 < erased.mean() < 0.63
    assert np.all((top >= 0) & (left >= 0) & (bottom <= 100) & (right <= 100))
    area, ratio = (height * width)[erased] / 100**2, height[erased] / width[erased]
    assert 0.09 < area.min() < 0.11
    assert 0.29 < area.max() < 0.31
    assert 0.48 < ratio.min() < 0.53
    assert 1.9 < ratio.max() < 2.1
