"""From an image and its plan to a training image, by Pillow and torch: for PyTorchDataLoader, for trained models, and
for FFCVDataLoader where kernels are not compiled."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.utils.data import default_collate

from formwork.kernels.resize import scaled
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.base import AugmentPlan, PixelOperation


def carry_out(
    augmentation: Augmentation, plan: AugmentPlan, i: int, image: Image.Image, epoch: int, sample: int
) -> torch.Tensor:
    """Row i of a plan, and what follows it in the augmentation list, carried out on an RGB image: (3, S, S) uint8."""
    operations = [operation for _, operation in augmentation.pixel]
    tensor = training_image(image, plan, i, augmentation.resolution, operations)
    if not augmentation.torchvision:
        return tensor
    with torch.random.fork_rng(devices=[]):
        for name, operation in augmentation.torchvision:
            # These draw from torch's generator, so its seed stands for (seed, epoch, sample id, operation).
            torch.manual_seed(zlib.crc32(f"{augmentation.seed} {epoch} {sample} {name}".encode()))
            tensor = operation(tensor)
    return tensor


def training_image(
    image: Image.Image, plan: AugmentPlan, i: int, size: int, operations: Sequence[PixelOperation] = ()
) -> torch.Tensor:
    """Row i of a plan carried out on an RGB image: (3, size, size) uint8.

    Args:
        operations: the pixel operations that plan.values are of.
    """
    tensor = torch.from_numpy(apply_plan(image, plan, i, size)).permute(2, 0, 1)
    for operation, values in zip(operations, plan.values, strict=True):
        tensor = operation.function(tensor, values[i].tolist())
    return tensor


def apply_plan(image: Image.Image, plan: AugmentPlan, i: int, size: int) -> np.ndarray:
    """The geometric part of row i of a plan, carried out on an RGB image: (size, size, 3) uint8."""
    pixels = np.array(scaled(image, plan.box[i], plan.window[i], size, size))
    dy, dx = plan.shift[i].tolist()
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
