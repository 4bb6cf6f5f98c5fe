"""Pixel operations that mirror and shift the training image.

RandomHorizontalFlip and RandomCrop are geometric where they follow what makes the training image: there they cost
nothing. Behind a pixel operation their forms here stand in for them, which draw the same numbers and do the same.
"""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import kernel
from formwork.loading.augmentation.base import Draw, GeometricOperation, PixelOperation, check_probability
from formwork.loading.augmentation.geometry import RandomCrop, RandomHorizontalFlip


@kernel
def _mirror(images, values):
    size = images.shape[1]
    for i in range(len(images)):
        if values[i, 0]:
            for y in range(size):
                for x in range(size // 2):
                    other = size - 1 - x
                    for c in range(3):
                        left, right = images[i, y, x, c], images[i, y, other, c]
                        images[i, y, x, c], images[i, y, other, c] = right, left
        if values[i, 1]:
            lines = images[i].reshape(size, 3 * size)
            for y in range(size // 2):
                above, below = lines[y], lines[size - 1 - y]
                for x in range(np.uint64(3 * size)):
                    upper, lower = above[x], below[x]
                    above[x], below[x] = lower, upper


class _Mirror(PixelOperation):
    """Values (B, 2): whether to mirror left and right; whether to mirror top and bottom."""

    kernel = staticmethod(_mirror)

    def __init__(self, p: float = 0.5):
        self.p = check_probability(p)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        axes = [axis for axis, mirrored in ((2, values[0]), (1, values[1])) if mirrored]
        return image.flip(axes) if axes else image


class MirrorHorizontally(_Mirror):
    """RandomHorizontalFlip, of the training image."""

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        mirrored = draw.uniform()[:, 0] < self.p
        return np.stack([mirrored, np.zeros_like(mirrored)], axis=1).astype(np.int64)


class RandomVerticalFlip(_Mirror):
    """Mirror top and bottom with probability p."""

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        mirrored = draw.uniform()[:, 0] < self.p
        return np.stack([np.zeros_like(mirrored), mirrored], axis=1).astype(np.int64)


@kernel
def _shift(images, values):
    size = images.shape[1]
    length = 3 * size
    row, outside = np.empty(length, np.uint8), np.empty(length, np.uint8)
    for i in range(len(images)):
        dy, dx = values[i, 0], 3 * values[i, 1]
        lines = images[i].reshape(size, length)
        for x in range(length):
            outside[x] = values[i, 2 + x % 3]
        low, high = min(max(-dx, 0), length), max(min(length - dx, length), 0)
        for k in range(size):
            y = k if dy >= 0 else size - 1 - k  # so that a row is read before it is written
            line = lines[y]
            for x in range(np.uint64(length)):
                row[x] = outside[x]
            if 0 <= y + dy < size and low < high:
                part, target = lines[y + dy, low + dx : high + dx], row[low:high]
                for x in range(np.uint64(len(target))):
                    target[x] = part[x]
            for x in range(np.uint64(length)):
                line[x] = row[x]


class Shift(PixelOperation):
    """RandomCrop, of the training image.

    Values (B, 5): pixel (y, x) shows what was at (y + values[0], x + values[1]), or the colour values[2:] outside.
    """

    kernel = staticmethod(_shift)

    def __init__(self, operation: RandomCrop):
        self.operation = operation

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        offsets = self.operation.offsets(draw)
        return np.hstack([offsets, np.tile(self.operation.fill, (len(offsets), 1))]).astype(np.int64)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        dy, dx, *fill = map(int, values)
        size = image.shape[1]
        shifted = torch.tensor(fill, dtype=torch.uint8).view(3, 1, 1).repeat(1, size, size)
        if abs(dy) < size and abs(dx) < size:
            source = image[:, max(dy, 0) : size + min(dy, 0), max(dx, 0) : size + min(dx, 0)]
            shifted[:, max(-dy, 0) : size - max(dy, 0), max(-dx, 0) : size - max(dx, 0)] = source
        return shifted


def on_pixels(operation: GeometricOperation) -> PixelOperation | None:
    """The pixel operation that stands in for a geometric one behind others; None where there is none."""
    if isinstance(operation, RandomHorizontalFlip):
        return MirrorHorizontally(operation.p)
    return Shift(operation) if isinstance(operation, RandomCrop) else None
