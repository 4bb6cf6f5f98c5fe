"""Pixel operations that paint over a part of an image: Cutout and RandomErasing."""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import kernel
from formwork.loading.augmentation.base import (
    Draw,
    PixelOperation,
    check_colour,
    check_integer,
    check_probability,
    check_range,
)

ATTEMPTS = 10  # of torchvision.transforms.RandomErasing, before it leaves the image as it is


@kernel
def _paint(images, values):
    for i in range(len(images)):
        top, left, bottom, right = values[i, 0], values[i, 1], values[i, 2], values[i, 3]
        for y in range(top, bottom):
            for x in range(left, right):
                for c in range(3):
                    images[i, y, x, c] = values[i, 4 + c]


class _Painting(PixelOperation):
    """Values (B, 7): the top, left, bottom and right edge of what is painted over; red, green and blue."""

    kernel = staticmethod(_paint)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        top, left, bottom, right, *colour = map(int, values)
        image = image.clone()
        image[:, top:bottom, left:right] = torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)
        return image


class Cutout(_Painting):
    """Paint over a random square of `crop_size` pixels a side that lies inside the image; FFCV's.

    T. DeVries and G. W. Taylor, "Improved regularization of convolutional neural networks with Cutout", 2017.
    """

    def __init__(self, crop_size: int, fill: int | Sequence[int] = 0):
        self.crop_size = check_integer("crop_size", crop_size)
        self.fill = check_colour("fill", fill)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        side = min(self.crop_size, resolution)
        start = np.floor(draw.uniform()[:, :2] * (resolution - side + 1)).astype(np.int64)
        return np.hstack([start, start + side, np.tile(self.fill.astype(np.int64), (len(start), 1))])


class RandomErasing(_Painting):
    """Paint over a random rectangle, with probability p; torchvision's.

    Z. Zhong, L. Zheng, G. Kang, S. Li and Y. Yang, "Random erasing data augmentation", AAAI 2020.

    Args:
        scale: range of its area, as a share of the image's. ratio: range of its height over its width.
        value: its colour.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: int | Sequence[int] = 0,
    ):
        self.p = check_probability(p)
        self.scale = check_range("scale", scale, highest=1)
        self.ratio = check_range("ratio", ratio)
        self.value = check_colour("value", value)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        low, high = np.log(self.ratio)
        count = len(draw.ids)
        box = np.zeros((count, 4), np.int64)
        pending = draw.uniform()[:, 0] < self.p
        for attempt in range(1, ATTEMPTS + 1):
            if not pending.any():
                break
            u = draw.uniform(attempt)
            area = resolution**2 * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[:, 0])
            aspect = np.exp(low + (high - low) * u[:, 1])
            size = np.rint(np.sqrt(np.stack([area * aspect, area / aspect], axis=1)))
            fits = pending & (size < resolution).all(axis=1)
            start = np.floor(u[:, 2:] * (resolution - size + 1))
            box[fits] = np.hstack([start, start + size])[fits]
            pending &= ~fits
        return np.hstack([box, np.tile(self.value.astype(np.int64), (count, 1))])
