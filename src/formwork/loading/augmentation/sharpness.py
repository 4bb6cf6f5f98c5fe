"""The pixel operation RandomAdjustSharpness."""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel, kernel
from formwork.loading.augmentation.base import (
    LARGEST_FACTOR,
    PRECISION,
    UNIT,
    Draw,
    PixelOperation,
    check_number,
    check_probability,
)

CENTRE, WHOLE = 5, 13  # weights of the smoothed image: of a pixel and its 8 neighbours, which count 1, and their sum
INVERSE_BITS = 16
INVERSE = -(-(1 << INVERSE_BITS) // WHOLE)  # x // WHOLE is x * INVERSE >> INVERSE_BITS, for x up to 255 * WHOLE + 6


@inner_kernel
def sharpen(image, factor, memory):
    """Change image (S, S, 3) uint8 in place: `factor` of itself and the rest of what smoothing makes of it.

    Args:
        factor: in units of 1 / UNIT; 0 gives the smoothed image, 2 * UNIT a sharper one.
        memory: uint8 to work in, of the size of the image.
    """
    size, length = image.shape[0], 3 * image.shape[1]
    if size <= 2:
        return  # all of it is edge, which stays
    lines, before = image.reshape(size, length), memory.reshape(size, length)
    for y in range(size):
        for x in range(np.uint64(length)):
            before[y, x] = lines[y, x]
    rest, inside = np.int32(UNIT - factor), np.uint64(length - 6)
    for y in range(1, size - 1):
        out, above, row, below = lines[y, 3:], before[y - 1], before[y], before[y + 1]
        for x in range(inside):
            left, right = x + np.uint64(3), x + np.uint64(6)
            total = np.uint16(above[x]) + np.uint16(above[left]) + np.uint16(above[right])
            total += np.uint16(below[x]) + np.uint16(below[left]) + np.uint16(below[right])
            total += np.uint16(row[x]) + np.uint16(row[right])
            value = np.int32(row[left])
            whole = np.uint32(np.int32(total) + CENTRE * value + WHOLE // 2)
            smooth = np.int32(np.uint32(whole * np.uint32(INVERSE)) >> np.uint32(INVERSE_BITS))
            value += np.int32(np.int32(smooth - value) * rest) >> np.int32(PRECISION)
            out[x] = min(max(value, np.int32(0)), np.int32(255))


def sharpened(image: torch.Tensor, factor: int) -> torch.Tensor:
    """The same with torch: an image (3, S, S) uint8; gives a new one, or `image` itself."""
    if image.shape[-1] <= 2:
        return image
    pixels = image.int()
    rows = pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    inside = pixels[:, 1:-1, 1:-1]
    total = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] + (CENTRE - 1) * inside
    smooth = (total + WHOLE // 2) // WHOLE
    out = image.clone()
    out[:, 1:-1, 1:-1] = (inside + ((smooth - inside) * (UNIT - factor) >> PRECISION)).clamp(0, 255).byte()
    return out


@kernel
def _sharpen(images, values):
    memory = np.empty(images.shape[1] * images.shape[2] * 3, np.uint8)
    for i in range(len(images)):
        if values[i, 0] != UNIT:
            sharpen(images[i], values[i, 0], memory)


class RandomAdjustSharpness(PixelOperation):
    """Blur or sharpen, with probability p; torchvision's.

    Args:
        sharpness_factor: 0 gives a smoothed image, 1 the image itself, and 2 a sharper one.
    """

    kernel = staticmethod(_sharpen)

    def __init__(self, sharpness_factor: float, p: float = 0.5):
        self.factor = round(check_number("sharpness_factor", sharpness_factor, 0, LARGEST_FACTOR) * UNIT)
        self.p = check_probability(p)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, 1): the factor."""
        return np.where(draw.uniform()[:, :1] < self.p, self.factor, UNIT)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        return image if values[0] == UNIT else sharpened(image, values[0])
