"""Pixel operations that give each value of a channel another one, whatever is around it: posterise, invert, equalise
and the like. They are those of torchvision's transforms.v2, exactly.
"""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel, kernel
from formwork.loading.augmentation.base import (
    Draw,
    PixelOperation,
    check_integer,
    check_number,
    check_probability,
)

NOTHING, POSTERIZE, SOLARIZE, AUTOCONTRAST, EQUALIZE = range(5)
LEVELS = 256
PER_LEVEL = np.float32(1 / 255)


@inner_kernel
def change_levels(pixels, what, amount):
    """pixels (N, 3) uint8, changed in place.

    Args:
        what: POSTERIZE to `amount` bits, SOLARIZE from `amount` on, AUTOCONTRAST, EQUALIZE, or NOTHING.
    """
    values = pixels.reshape(pixels.size)
    if what == POSTERIZE:
        mask = np.uint8(0xFF00 >> amount)
        for i in range(np.uint64(len(values))):
            values[i] = np.uint8(values[i] & mask)
    elif what == SOLARIZE:
        threshold = np.int32(amount)
        for i in range(np.uint64(len(values))):
            values[i] = np.uint8(255 - values[i]) if values[i] >= threshold else values[i]
    elif what in (AUTOCONTRAST, EQUALIZE):
        table = np.empty(3 * LEVELS, np.uint8)
        if what == AUTOCONTRAST:
            _stretch(pixels, table)
        else:
            _equalize(pixels, table)
        for i in range(np.uint64(len(pixels))):
            pixels[i, 0] = table[np.uint64(pixels[i, 0])]
            pixels[i, 1] = table[np.uint64(pixels[i, 1]) + np.uint64(LEVELS)]
            pixels[i, 2] = table[np.uint64(pixels[i, 2]) + np.uint64(2 * LEVELS)]


@inner_kernel
def _stretch(pixels, table):
    """table (3 * LEVELS,): what each value of each channel becomes, so that the channel reaches from 0 to 255."""
    width = 96  # values that are compared at once: whole pixels, in whole registers
    low, high = np.full(width, 255, np.uint8), np.zeros(width, np.uint8)
    values = pixels.reshape(pixels.size)
    for start in range(0, len(values) - width + 1, width):
        part = values[start : start + width]
        for i in range(np.uint64(width)):
            low[i], high[i] = min(low[i], part[i]), max(high[i], part[i])
    for i in range(len(values) // width * width, len(values)):
        low[i % 3], high[i % 3] = min(low[i % 3], values[i]), max(high[i % 3], values[i])
    for c in range(3):
        for i in range(c + 3, width, 3):
            low[c], high[c] = min(low[c], low[i]), max(high[c], high[i])
        # One operation at a time, each rounded to float32: the same anywhere, and what torchvision does.
        scale = np.float32(np.float32(int(high[c]) - int(low[c])) * PER_LEVEL)
        for value in range(LEVELS):
            above = max(value - int(low[c]), 0)
            stretched = int(np.float32(np.float32(above) / scale)) if high[c] > low[c] else value
            table[c * LEVELS + value] = min(stretched, 255)


@inner_kernel
def _equalize(pixels, table):
    """table (3 * LEVELS,): what each value of each channel becomes, so that all are about as frequent."""
    counts = np.zeros(3 * LEVELS, np.int64)
    for i in range(np.uint64(len(pixels))):
        counts[np.uint64(pixels[i, 0])] += 1
        counts[np.uint64(pixels[i, 1]) + np.uint64(LEVELS)] += 1
        counts[np.uint64(pixels[i, 2]) + np.uint64(2 * LEVELS)] += 1
    for start in range(0, 3 * LEVELS, LEVELS):
        last = start + 255
        while counts[last] == 0:
            last -= 1
        step = (len(pixels) - counts[last]) // 255
        below = step // 2
        for i in range(LEVELS):
            table[start + i] = min(below // step, 255) if step else i
            below += counts[start + i]


def with_levels(image: torch.Tensor, what: int, amount: int) -> torch.Tensor:
    """change_levels with torch: an image (3, H, W) uint8; gives a new one, or `image` itself."""
    if what == POSTERIZE:
        return image & ((0xFF00 >> amount) & 0xFF)
    if what == SOLARIZE:
        return torch.where(image >= amount, 255 - image, image)
    if what == AUTOCONTRAST:
        return torch.stack([_stretched(channel) for channel in image])
    if what == EQUALIZE:
        return torch.stack([_equalized(channel) for channel in image])
    return image


def _stretched(channel: torch.Tensor) -> torch.Tensor:
    low, high = channel.min(), channel.max()
    if low == high:
        return channel
    scale = (high.float() - low.float()) * float(PER_LEVEL)
    return ((channel.float() - low.float()) / scale).clamp(max=255).byte()


def _equalized(channel: torch.Tensor) -> torch.Tensor:
    counts = torch.bincount(channel.flatten(), minlength=LEVELS)
    step = int(channel.numel() - counts[int(channel.max())]) // 255
    if not step:
        return channel
    below = counts.cumsum(0) - counts
    return ((below + step // 2) // step).clamp(max=255).byte()[channel.long()]


@kernel
def _change(images, values):
    for i in range(len(images)):
        pixels = images[i].reshape(images.shape[1] * images.shape[2], 3)
        change_levels(pixels, values[i, 0], values[i, 1])


class _Levels(PixelOperation):
    """One change with probability p. Values (B, 2): which, and its amount; see change_levels."""

    kernel = staticmethod(_change)

    def __init__(self, what: int, amount: int, p: float):
        self.what, self.amount = what, amount
        self.p = check_probability(p)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        return np.where(draw.uniform()[:, :1] < self.p, [self.what, self.amount], [NOTHING, 0])

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        return with_levels(image, values[0], values[1])


class Solarize(_Levels):
    """Invert all values from `threshold` on."""

    def __init__(self, threshold: float = 128, p: float = 1.0):
        super().__init__(SOLARIZE, int(np.ceil(check_number("threshold", threshold, 0, 255))), p)


class RandomSolarize(Solarize):
    """Solarize with the arguments of torchvision's operation of this name."""

    def __init__(self, threshold: float, p: float = 0.5):
        super().__init__(threshold, p)


class RandomPosterize(_Levels):
    """Keep the upper `bits` of the 8 bits of each value."""

    def __init__(self, bits: int, p: float = 0.5):
        super().__init__(POSTERIZE, check_integer("bits", bits, 0, 8), p)


class RandomInvert(_Levels):
    """Make each value v 255 - v."""

    def __init__(self, p: float = 0.5):
        super().__init__(SOLARIZE, 0, p)


class RandomAutocontrast(_Levels):
    """Stretch each channel so that its darkest value becomes 0 and its brightest 255."""

    def __init__(self, p: float = 0.5):
        super().__init__(AUTOCONTRAST, 0, p)


class RandomEqualize(_Levels):
    """Equalise the histogram of each channel: all values become about as frequent."""

    def __init__(self, p: float = 0.5):
        super().__init__(EQUALIZE, 0, p)
