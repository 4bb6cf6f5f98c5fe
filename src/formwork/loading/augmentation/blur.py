"""The pixel operation GaussianBlur."""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel, kernel
from formwork.loading.augmentation.base import (
    LARGEST,
    SMALLEST,
    Draw,
    PixelOperation,
    check_integer,
    check_number,
    check_probability,
    check_range,
)

# Weights are whole numbers whose sum is WHOLE. After the first pass, along rows, a value has EXTRA bits of fraction;
# 255 * 2**EXTRA * WHOLE fits into 32 bits.
WEIGHT_BITS, EXTRA = 15, 8
WHOLE = 1 << WEIGHT_BITS
LARGEST_KERNEL = 999  # pixels
FIRST_SHIFT, SECOND_SHIFT = WEIGHT_BITS - EXTRA, WEIGHT_BITS + EXTRA
FIRST_HALF, SECOND_HALF = 1 << (FIRST_SHIFT - 1), 1 << (SECOND_SHIFT - 1)


def _reflect(i, size):
    """The place inside 0 <= i < size that shows at i: the edge is a mirror that does not show itself twice."""
    while size > 1 and not 0 <= i < size:
        i = -i if i < 0 else 2 * (size - 1) - i
    return i if size > 1 else 0


_reflected = inner_kernel(_reflect)


@kernel
def _blur(images, values):
    size, taps = images.shape[1], values.shape[1]
    radius, length = taps // 2, 3 * images.shape[1]
    padded = np.empty(length + 6 * radius, np.int32)
    rows = np.empty((size, length), np.int32)
    sums = np.empty(length, np.int32)
    for i in range(len(images)):
        if values[i, radius] == WHOLE:
            continue
        lines = images[i].reshape(size, length)
        for y in range(size):
            for x in range(-radius, size + radius):
                source = 3 * _reflected(x, size)
                for c in range(3):
                    padded[3 * (x + radius) + c] = lines[y, source + c]
            sums[:] = FIRST_HALF
            for k in range(taps):
                weight = np.int32(values[i, k])
                part = padded[3 * k : 3 * k + length]
                for x in range(np.uint64(length)):
                    sums[x] += weight * part[x]
            for x in range(np.uint64(length)):
                rows[y, x] = sums[x] >> np.int32(FIRST_SHIFT)
        for y in range(size):
            sums[:] = SECOND_HALF
            for k in range(taps):
                weight = np.int32(values[i, k])
                part = rows[_reflected(y + k - radius, size)]
                for x in range(np.uint64(length)):
                    sums[x] += weight * part[x]
            for x in range(np.uint64(length)):
                lines[y, x] = sums[x] >> np.int32(SECOND_SHIFT)


class GaussianBlur(PixelOperation):
    """Blur with a normal distribution of random width, with probability p; torchvision's.

    Args:
        kernel_size: odd number of pixels that are added up, each way.
        sigma: range [low, high] of the standard deviation, in pixels, or one number.
    """

    kernel = staticmethod(_blur)

    def __init__(self, kernel_size: int = 9, sigma: float | Sequence[float] = (0.1, 2.0), p: float = 1.0):
        if check_integer("kernel_size", kernel_size, 1, LARGEST_KERNEL) % 2 == 0:
            raise ValueError(f"kernel_size must be odd, and is {kernel_size}")
        self.distances = np.arange(kernel_size) - kernel_size // 2
        one = None if isinstance(sigma, list | tuple) else check_number("sigma", sigma, SMALLEST, LARGEST)
        self.sigma = check_range("sigma", sigma if one is None else (one, one))
        self.p = check_probability(p)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, kernel_size): the weights."""
        u = draw.uniform()
        low, high = self.sigma
        sigma = low + (high - low) * u[:, :1]
        weights = np.exp(-0.5 * (self.distances / sigma) ** 2)
        weights = np.rint(weights / weights.sum(axis=1, keepdims=True) * WHOLE).astype(np.int64)
        weights[u[:, 1] >= self.p] = 0
        # What rounding left, and all of the weight where nothing is to be done, to the pixel itself.
        weights[:, len(self.distances) // 2] += WHOLE - weights.sum(axis=1)
        return weights

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        radius, size = len(values) // 2, image.shape[-1]
        if values[radius] == WHOLE:
            return image
        places = torch.tensor([_reflect(i, size) for i in range(-radius, size + radius)])
        pixels = image.int()
        rows = torch.full_like(pixels, FIRST_HALF)
        for k, weight in enumerate(values):
            rows += int(weight) * pixels[..., places[k : k + size]]
        rows >>= FIRST_SHIFT
        columns = torch.full_like(pixels, SECOND_HALF)
        for k, weight in enumerate(values):
            columns += int(weight) * rows[:, places[k : k + size]]
        return (columns >> SECOND_SHIFT).byte()
