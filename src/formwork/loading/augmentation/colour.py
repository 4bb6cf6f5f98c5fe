"""Pixel operations on colours: ColorJitter, Grayscale and the like.

Definitions are those of torchvision (`adjust_brightness` and the like of its transforms.v2.functional), which cuts off
fractions. Grey is its luma, too: 0.2989, 0.587 and 0.114, which make 254 of white.
"""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel, kernel
from formwork.loading.augmentation.base import (
    HALF,
    LARGEST_FACTOR,
    PRECISION,
    UNIT,
    Draw,
    PixelOperation,
    check_number,
    check_probability,
    check_range,
    fixed,
)

GREY_BITS = 22  # as many as fit into 32 bits: below the smallest fraction of a sum of such weights
RED, GREEN, BLUE = (round(weight * (1 << GREY_BITS)) for weight in (0.2989, 0.587, 0.114))
SLIGHTLY = 256  # more than what the weights are rounded by: whole sums of the true weights stay whole
BLOCK = 256  # pixels that are handled at once
BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
ORDERS = np.array(list(permutations(range(4))))  # in which ColorJitter takes its steps
PERMUTATIONS = np.array(list(permutations(range(3))))  # of channels; the first changes nothing
NEUTRAL = UNIT, UNIT, UNIT, 0  # values of the four that change nothing
CIRCLE = 6 * UNIT  # of hues: red, yellow, green, cyan, blue and magenta are UNIT apart
CHANNELS = np.array([5 * UNIT, 3 * UNIT, UNIT], np.int32)  # where k of red, green and blue starts, in _turn
INVERSE_BITS = 8
# UNIT / spread with so many bits more: a multiplication where a division would take most of the time.
INVERSE = np.array([0, *(round((UNIT << INVERSE_BITS) / spread) for spread in range(1, 256))], np.int32)


@inner_kernel
def _grey(pixels, i):
    total = RED * np.int32(pixels[i, 0]) + GREEN * np.int32(pixels[i, 1]) + BLUE * np.int32(pixels[i, 2]) + SLIGHTLY
    return np.int32(total) >> np.int32(GREY_BITS)  # cut to 32 bits at once, numba makes vectors of it


@inner_kernel
def _blend(values, factor, offset):
    """values (N,) uint8 become values * factor + offset, the latter two int32 in units of 1 / UNIT."""
    for i in range(np.uint64(len(values))):  # 32-bit numbers only, so that many fit into a register
        value = np.int32(np.int32(values[i]) * factor + offset) >> np.int32(PRECISION)
        values[i] = min(max(value, np.int32(0)), np.int32(255))


@inner_kernel
def _saturate(pixels, factor):
    """pixels (N, 3) uint8; factor int32 in units of 1 / UNIT."""
    rest, values = np.int32(UNIT - factor), pixels.reshape(pixels.size)
    greys = np.empty(3 * BLOCK, np.int32)  # each three times, so that the second loop is one of vectors
    for start in range(0, len(pixels), BLOCK):
        stop = min(start + BLOCK, len(pixels))
        for i in range(stop - start):
            greys[3 * i] = greys[3 * i + 1] = greys[3 * i + 2] = np.int32(_grey(pixels, start + i) * rest)
        part = values[3 * start : 3 * stop]
        for i in range(np.uint64(len(part))):
            value = np.int32(np.int32(part[i]) * factor + greys[i]) >> np.int32(PRECISION)
            part[i] = min(max(value, np.int32(0)), np.int32(255))


@inner_kernel
def _turn(pixels, turn):
    """Add `turn`, of CIRCLE, to the hue of pixels (N, 3) uint8; value and saturation, as of HSV, stay."""
    # Whole numbers of 32 bits and no branches. Back from HSV: https://en.wikipedia.org/wiki/HSL_and_HSV, "HSV to RGB
    # alternative", where a channel is high - spread * max(0, min(k, 4 - k, 1)) for its own k around the circle.
    for i in range(np.uint64(len(pixels))):
        r, g, b = np.int32(pixels[i, 0]), np.int32(pixels[i, 1]), np.int32(pixels[i, 2])
        high, low = max(r, g, b), min(r, g, b)
        spread = np.int32(high - low)
        difference = g - b if high == r else (b - r if high == g else r - g)
        sector = np.int32(0) if high == r else (np.int32(2 * UNIT) if high == g else np.int32(4 * UNIT))
        hue = np.int32((np.int32(difference * INVERSE[spread]) >> np.int32(INVERSE_BITS)) + sector + turn)
        for c in range(3):
            k = np.int32(hue + CHANNELS[c])
            k = k + CIRCLE if k < 0 else k
            k = k - CIRCLE if k >= CIRCLE else k
            k = k - CIRCLE if k >= CIRCLE else k
            part = np.int32(max(min(k, 4 * UNIT - k, UNIT), 0))
            pixels[i, c] = high - (np.int32(spread * part + HALF) >> np.int32(PRECISION))


def _turned(pixels: torch.Tensor, turn: int) -> torch.Tensor:
    """The same with torch: (3, H, W) int32."""
    r, g, b = pixels
    high = pixels.amax(dim=0)
    spread = high - pixels.amin(dim=0)
    of_red, of_green = high == r, high == g
    difference = torch.where(of_red, g - b, torch.where(of_green, b - r, r - g))
    sector = torch.where(of_red, 0, torch.where(of_green, 2 * UNIT, 4 * UNIT))
    hue = ((difference * torch.from_numpy(INVERSE)[spread]) >> INVERSE_BITS) + sector + turn
    k = (hue + torch.from_numpy(CHANNELS).view(3, 1, 1)) % CIRCLE
    part = torch.minimum(k, 4 * UNIT - k).clamp(0, UNIT)
    return high - ((spread * part + HALF) >> PRECISION)


@inner_kernel
def adjust(pixels, what, factor):
    """Change pixels (N, 3) uint8 in place.

    Args:
        what: BRIGHTNESS, CONTRAST, SATURATION or HUE.
        factor: int32 in units of 1 / UNIT; of HUE the turn, CIRCLE the whole way around.
    """
    if what == BRIGHTNESS:
        _blend(pixels.reshape(pixels.size), factor, np.int32(0))
    elif what == CONTRAST:
        total = 0
        for k in range(np.uint64(len(pixels))):
            total += _grey(pixels, k)
        _blend(pixels.reshape(pixels.size), factor, np.int32(total * (UNIT - factor) // len(pixels)))
    elif what == SATURATION:
        _saturate(pixels, factor)
    else:
        _turn(pixels, factor)


def adjusted(image: torch.Tensor, what: int, factor: int) -> torch.Tensor:
    """The same with torch: a new image (3, H, W) uint8."""
    pixels = image.int()
    if what == HUE:
        return _turned(pixels, factor).byte()
    offset: int | torch.Tensor = 0
    if what == CONTRAST:
        offset = int(_luma(pixels).sum()) * (UNIT - factor) // pixels[0].numel()
    elif what == SATURATION:
        offset = _luma(pixels) * (UNIT - factor)
    return ((pixels * factor + offset) >> PRECISION).clamp(0, 255).byte()


def _luma(pixels: torch.Tensor) -> torch.Tensor:
    """(H, W) int32 grey of (3, H, W) int32."""
    return (RED * pixels[0] + GREEN * pixels[1] + BLUE * pixels[2] + SLIGHTLY) >> GREY_BITS


@kernel
def _jitter(images, values):
    for i in range(len(images)):
        pixels = images[i].reshape(images.shape[1] * images.shape[2], 3)
        for step in values[i, :4]:
            factor = np.int32(values[i, 4 + step])
            if factor != NEUTRAL[step]:
                adjust(pixels, step, factor)


class ColorJitter(PixelOperation):
    """Change brightness, contrast and saturation by random factors, and turn the hue, in random order; torchvision's.

    Args:
        brightness, contrast, saturation: range [low, high] of the factor, or a number x for [max(0, 1 - x), 1 + x].
        hue: range of the turn, from -0.5 to 0.5 of the colour circle, or a number x for [-x, x].
    """

    kernel = staticmethod(_jitter)

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
        hue: float | Sequence[float] = 0,
    ):
        self.ranges = np.array(
            [
                _range("brightness", brightness, 1, 0, LARGEST_FACTOR),
                _range("contrast", contrast, 1, 0, LARGEST_FACTOR),
                _range("saturation", saturation, 1, 0, LARGEST_FACTOR),
                _range("hue", hue, 0, -0.5, 0.5),
            ]
        )

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, 8): the four steps in their order; the factors of brightness, contrast and saturation; the turn."""
        low, high = self.ranges.T
        changes = low + (high - low) * draw.uniform()
        changes[:, HUE] *= CIRCLE / UNIT
        return np.hstack([ORDERS[(draw.uniform(1)[:, 0] * len(ORDERS)).astype(int)], fixed(changes)])

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        for step in values[:4]:
            factor = int(values[4 + step])
            if factor != NEUTRAL[step]:
                image = adjusted(image, step, factor)
        return image


def _range(
    name: str, value: float | Sequence[float], centre: float, lowest: float, highest: float
) -> tuple[float, float]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return check_range(name, value, lowest, highest)
    number = check_number(name, value, 0, highest - centre)
    return max(lowest, centre - number), centre + number


@kernel
def _to_grey(images, values):
    for i in range(len(images)):
        if values[i, 0]:
            pixels = images[i].reshape(images.shape[1] * images.shape[2], 3)
            for k in range(np.uint64(len(pixels))):
                pixels[k, 0] = pixels[k, 1] = pixels[k, 2] = _grey(pixels, k)


class Grayscale(PixelOperation):
    """Grey in all three channels, with probability p."""

    kernel = staticmethod(_to_grey)

    def __init__(self, p: float = 1.0):
        self.p = check_probability(p)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, 1): whether."""
        return (draw.uniform()[:, :1] < self.p).astype(np.int64)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        return _luma(image.int()).byte().expand(3, -1, -1).clone() if values[0] else image


class RandomGrayscale(Grayscale):
    """Grayscale with the default of torchvision's operation of this name."""

    def __init__(self, p: float = 0.1):
        super().__init__(p)


@kernel
def _permute(images, values):
    for i in range(len(images)):
        first, second, third = values[i, 0], values[i, 1], values[i, 2]
        if first == 0 and second == 1:
            continue
        pixels = images[i].reshape(images.shape[1] * images.shape[2], 3)
        for k in range(len(pixels)):
            a, b, c = pixels[k, first], pixels[k, second], pixels[k, third]
            pixels[k, 0], pixels[k, 1], pixels[k, 2] = a, b, c


class RandomChannelPermutation(PixelOperation):
    """Put the three channels into a random order, each of the six as likely as the others; torchvision's."""

    kernel = staticmethod(_permute)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, 3): which channel comes first, second and third."""
        return PERMUTATIONS[(draw.uniform()[:, 0] * len(PERMUTATIONS)).astype(int)]

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        return image[list(values)]


class RandomPhotometricDistort(PixelOperation):
    """ColorJitter whose steps happen with probability p each, contrast before or after saturation and hue; then, with
    probability p, the channels in a random order; torchvision's.

    W. Liu et al., "SSD: Single shot multibox detector", ECCV 2016.

    Args:
        brightness, contrast, saturation, hue: as for ColorJitter.
    """

    def __init__(
        self,
        brightness: float | Sequence[float] = (0.875, 1.125),
        contrast: float | Sequence[float] = (0.5, 1.5),
        saturation: float | Sequence[float] = (0.5, 1.5),
        hue: float | Sequence[float] = (-0.05, 0.05),
        p: float = 0.5,
    ):
        self.jitter = ColorJitter(brightness, contrast, saturation, hue)
        self.permutation = RandomChannelPermutation()
        self.p = check_probability(p)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, 11): those of ColorJitter and of RandomChannelPermutation."""
        steps, others = draw.uniform(2) < self.p, draw.uniform(3)
        orders = np.where(
            others[:, :1] < 0.5, [BRIGHTNESS, CONTRAST, SATURATION, HUE], [BRIGHTNESS, SATURATION, HUE, CONTRAST]
        )
        changes = np.where(steps, self.jitter.draw(draw, resolution)[:, 4:], NEUTRAL)
        which = np.where(others[:, 1] < self.p, others[:, 2] * len(PERMUTATIONS), 0).astype(int)
        return np.hstack([orders, changes, PERMUTATIONS[which]])

    def kernel(self, images: np.ndarray, values: np.ndarray) -> None:
        self.jitter.kernel(images, np.ascontiguousarray(values[:, :8]))
        self.permutation.kernel(images, np.ascontiguousarray(values[:, 8:]))

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        return self.permutation.function(self.jitter.function(image, values[:8]), values[8:])
