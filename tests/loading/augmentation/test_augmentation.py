"""Lists are checked before any work, and mean what torchvision's operations of the same name mean."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from formwork.errors import AugmentationError
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.base import Draw
from formwork.loading.transforms import apply_plan

IDS = np.arange(2000)
HEIGHTS, WIDTHS = np.full(2000, 90), np.full(2000, 120)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([{"RandomHorizontalFlipp": {}}], "augment.train: there is no operation 'RandomHorizontalFlipp'. Did you mean"),
        ([{"RandomHorizontalFlip": {"q": 1}}], "RandomHorizontalFlip: it has no argument 'q' (known: p)."),
        ([{"RandomHorizontalFlip": {"p": 2}}], "RandomHorizontalFlip: p must be a number from 0 to 1, and is 2."),
        ([{"RandomCrop": {}}], "RandomCrop: its argument padding is missing"),
        ([{"RandomResizedCrop": {"scale": [0.5, 0.1]}}], "RandomResizedCrop: scale must be"),
        ([{"RandomCrop": {"padding": 1}}, {"Resize": {}}], "Resize must be the first"),
        ([{"Resize": {}}, {"CenterCrop": {}}], "CenterCrop must be the first"),
        ([{"ColorJitter": {"brightness": -1}}], "ColorJitter: "),
        ([{"Resize": {}, "RandomCrop": {}}], "an entry is one operation"),
    ],
)
def test_bad_lists_are_refused_by_name(operations, message):
    with pytest.raises(AugmentationError) as refused:
        Augmentation(operations, 32, 0, "augment.train")
    assert message in str(refused.value)
    assert str(refused.value).startswith("augment.train: ")


@pytest.mark.parametrize("ratio", [1.0, 0.875, 0.7])
@pytest.mark.parametrize("size", [(90, 120), (120, 90), (64, 64), (300, 41)])
def test_center_crop_is_torchvisions_resize_and_center_crop(size, ratio):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    plan = Augmentation([{"CenterCrop": {"ratio": ratio}}], 48, 0).plan(0, IDS[:1], *np.array([size]).T)
    ours = apply_plan(image, plan, 0, 48)
    theirs = v2.Compose([v2.Resize(round(48 / ratio)), v2.CenterCrop(48)])(image)
    assert np.abs(ours.astype(int) - np.asarray(theirs)).max() <= 1


def test_random_resized_crop_keeps_to_its_ranges_and_covers_them():
    plan = Augmentation([{"RandomResizedCrop": {"scale": [0.1, 0.6], "ratio": [0.5, 2.0]}}], 32, 0).plan(
        0, IDS, HEIGHTS, WIDTHS
    )
    left, top, right, bottom = plan.box.T
    width, height = right - left, bottom - top
    assert left.min() >= 0
    assert top.min() >= 0
    assert right.max() <= 120
    assert bottom.max() <= 90
    area, aspect = width * height / (90 * 120), width / height
    assert 0.09 < area.min() < 0.12
    assert 0.58 < area.max() < 0.62
    assert 0.48 < aspect.min() < 0.55
    assert 1.9 < aspect.max() < 2.1
    assert np.array_equal(plan.window, plan.box.astype(int))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (30, 20000), (20000, 30), (1, 500)])
def test_random_resized_crop_always_finds_a_part(height, width):
    ids = IDS[:200]
    plan = Augmentation([{"RandomResizedCrop": {}}], 32, 0).plan(0, ids, np.full(200, height), np.full(200, width))
    left, top, right, bottom = plan.window.T
    assert np.all((left >= 0) & (top >= 0) & (right <= width) & (bottom <= height) & (left < right) & (top < bottom))


def first_that_fits(draw: Draw, height: int, width: int) -> tuple[float, float, float, float]:
    """torchvision's RandomResizedCrop of one image: left, top, right, bottom."""
    for attempt in range(10):
        ((area, aspect, y, x),) = draw.uniform(attempt)
        area, aspect = height * width * (0.08 + 0.92 * area), np.exp(np.log(3 / 4) + np.log(16 / 9) * aspect)
        w, h = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * 4 / 3)), min(height, round(width / (3 / 4)))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


@pytest.mark.parametrize("count", [0, 1, 60, 1500])
def test_a_random_resized_crop_is_the_first_attempt_that_fits(count):
    rng = np.random.default_rng(count)
    sizes = rng.integers(1, 400, (2, count))
    sizes[:, ::3] //= rng.integers(1, 50, (2, len(range(0, count, 3))))  # some so narrow that none fits
    sizes = np.maximum(sizes, 1)
    plan = Augmentation([{"RandomResizedCrop": {}}], 32, seed=5).plan(2, np.arange(count), *sizes)

    for i in range(count):
        draw = Draw(5, 2, np.array([i]), "RandomResizedCrop")
        assert plan.box[i].tolist() == [*first_that_fits(draw, *sizes[:, i].tolist())]


def test_shifts_and_flips_are_fair():
    plan = Augmentation([{"RandomCrop": {"padding": 2}}, {"RandomHorizontalFlip": {"p": 0.3}}], 32, 0).plan(
        0, IDS, HEIGHTS, WIDTHS
    )
    for axis in range(2):
        values, counts = np.unique(plan.shift[:, axis], return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert counts.min() > 330
    assert 0.27 < plan.flip.mean() < 0.33


@pytest.mark.parametrize("flip_first", [True, False])
def test_shift_and_flip_happen_in_the_order_of_the_list(flip_first):
    crop, flip = {"RandomCrop": {"padding": 3}}, {"RandomHorizontalFlip": {"p": 1.0}}
    plan = Augmentation([flip, crop] if flip_first else [crop, flip], 16, 0).plan(
        0, IDS[:50], np.full(50, 16), np.full(50, 16)
    )
    shifts = Augmentation([crop], 16, 0).plan(0, IDS[:50], np.full(50, 16), np.full(50, 16)).shift
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    for i, (dy, dx) in enumerate(shifts.tolist()):
        tensor = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
        crop_it = [lambda t, dy=dy, dx=dx: v2.functional.crop(v2.functional.pad(t, [3]), 3 + dy, 3 + dx, 16, 16)]
        steps = [v2.functional.hflip, *crop_it] if flip_first else [*crop_it, v2.functional.hflip]
        for step in steps:
            tensor = step(tensor)
        assert np.array_equal(apply_plan(image, plan, i, 16), tensor.permute(1, 2, 0).numpy())
