"""From an image and its plan to a training image, by Pillow and torch: for PyTorchDataLoader, for trained models, and
for FFCVDataLoader where kernels are not compiled."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import default_collate

from formwork.kernels.resize import scaled
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.base import AugmentPlan


def carry_out(augmentation: Augmentation, plan: AugmentPlan, i: int, image: Image.Image) -> torch.Tensor:
    """Row i of a plan, and what follows it in the augmentation list, carried out on an RGB image: (3, S, S) uint8.

    Raises:
        AugmentationError: an operation fails on this image.
    """
    return augmentation.change(training_image(image, plan, i, augmentation.resolution), plan, i)


def training_image(image: Image.Image, plan: AugmentPlan, i: int, size: int) -> torch.Tensor:
    """The geometric part of row i of a plan, carried out on an RGB image: (3, size, size) uint8."""
    return torch.from_numpy(apply_plan(image, plan, i, size)).permute(2, 0, 1)


def apply_plan(image: Image.Image, plan: AugmentPlan, i: int, size: int) -> np.ndarray:
    """The same as an array (size, size, 3) uint8."""
    pixels = np.array(scaled(image, plan.box[i], plan.window[i], size, size))
    dy, dx = np.clip(plan.shift[i], -size, size).tolist()  # further off, nothing else is seen: no more memory for it
    if dy or dx:
        padded = np.full((size + 2 * abs(dy), size + 2 * abs(dx), 3), plan.fill)
        padded[abs(dy) : abs(dy) + size, abs(dx) : abs(dx) + size] = pixels
        y, x = abs(dy) + dy, abs(dx) + dx
        pixels = padded[y : y + size, x : x + size]
    pixels = np.ascontiguousarray(pixels)
    return torch.from_numpy(pixels).flip(1).numpy() if plan.flip[i] else pixels  # 15 times as fast as numpy


def channels_last(images: list[torch.Tensor], dtype: torch.dtype, side: int) -> torch.Tensor:
    """(B, 3, side, side), put together by PyTorch's own function, which writes to memory that processes share."""
    if not images:
        return torch.empty((0, 3, side, side), dtype=dtype)
    return default_collate([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


def batch_images(shown: Sequence[list[torch.Tensor]], sides: Sequence[int], dtype: torch.dtype) -> Any:
    """The images of a batch, see formwork.loading.base.Batch.

    Args:
        shown: by view, images (3, side, side) of this dtype.
        sides: of each view, in pixels.
    """
    if len(shown) == 1:
        return channels_last(shown[0], dtype, sides[0])
    groups = []
    for side in dict.fromkeys(sides):
        views = [images for images, of_view in zip(shown, sides, strict=True) if of_view == side]
        together = channels_last([image for images in views for image in images], dtype, side)
        groups.append(together.unflatten(0, (len(views), len(views[0]))).transpose(0, 1))
    return groups[0] if len(groups) == 1 else tuple(groups)
