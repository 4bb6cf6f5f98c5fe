"""What an operation of an augmentation list is. There are two kinds.

A *geometric* one decides which part of an image becomes the training image, and how it is shifted and mirrored. It
only changes numbers of a AugmentPlan, so that decoding, scaling, shifting and normalising stay one pass over memory.

A *pixel* operation changes the pixels of the training image, 8-bit RGB, before normalisation. It comes in two forms
that give the same pixels: a compiled kernel for FFCVDataLoader and a torch function for PyTorchDataLoader. Both get
the same numbers, drawn for both in one place. Fractions are whole numbers of 1 / UNIT in both: floating-point sums
differ with the order in which a compiler adds them, these do not.
"""

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import torch

from formwork.loading.random_numbers import uniform

PRECISION = 14  # bits of a fraction: 255 times a factor below 500 fits into 32 bits with it
UNIT = 1 << PRECISION
HALF = UNIT // 2
LARGEST_FACTOR = 256
LARGEST_SIDE = 16384  # pixels; of training images, and so of what an argument counts
SMALLEST, LARGEST = 0.0001, 10000  # of proportions and widths: far beyond any use, and well within what floats hold


@dataclass
class AugmentPlan:
    """The augmentation of each image of a batch, in numbers; S is the training resolution.

    Attributes:
        box: (B, 4) float32, the left, top, right and bottom edge, in source pixels, of the part scaled to S x S.
        window: (B, 4) int32, the same edges of the source pixels that may take part in the scaling.
        shift: (B, 2) int32, after the scaling pixel (y, x) shows what was at (y + shift[0], x + shift[1]), and `fill`
            where that lies outside.
        flip: (B,) bool, after the shift mirror left and right.
        fill: (3,) uint8 RGB.
        values: for each pixel operation of the list, (B, P) int64 what it does to each image.
    """

    box: np.ndarray
    window: np.ndarray
    shift: np.ndarray
    flip: np.ndarray
    fill: np.ndarray
    values: list[np.ndarray]


@dataclass(frozen=True)
class Draw:
    """The random numbers of one operation for the images of one batch."""

    seed: int
    epoch: int
    ids: np.ndarray
    purpose: str

    def uniform(self, block: int = 0) -> np.ndarray:
        """(B, 4) float64 in [0, 1). The same for the same seed, epoch, sample id, operation and block."""
        return uniform(self.seed, self.epoch, self.ids, self.purpose, block)

    def uniforms(self, count: int) -> np.ndarray:
        """(B, count) float64 in [0, 1): the first numbers of as many blocks as it takes."""
        blocks = self.of_blocks(range(max(-(-count // 4), 1)), np.arange(len(self.ids)))
        return blocks.transpose(1, 0, 2).reshape(len(self.ids), 4 * len(blocks))[:, :count]

    def of_blocks(self, blocks: range, rows: np.ndarray) -> np.ndarray:
        """(len(blocks), len(rows), 4), of several blocks at once, for these images of the batch."""
        ids, numbers = np.tile(self.ids[rows], len(blocks)), np.repeat(blocks, len(rows))
        return uniform(self.seed, self.epoch, ids, self.purpose, numbers).reshape(len(blocks), len(rows), 4)


class GeometricOperation(ABC):
    """Attribute decides: what of a plan it sets, so that a second operation that sets it is done afterwards; nothing:
    it only changes what others set."""

    decides: str = ""

    @abstractmethod
    def apply(self, plan: AugmentPlan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        """Change `plan` in place. heights, widths: (B,) int64 source sizes in pixels."""


class PixelOperation(ABC):
    @abstractmethod
    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, P) int64: what is done to each image of S x S pixels, in whatever numbers both forms understand."""

    kernel: Callable[[np.ndarray, np.ndarray], None]
    """kernel(images, values): changes images (n, S, S, 3) uint8 in place by values (n, P). Compiled;
    releases the GIL."""

    @abstractmethod
    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        """The same for one image (3, S, S) uint8 and its P values; gives a new image, or `image` itself."""

    def certain(self) -> "PixelOperation":
        """What is tried in its place, so that it is done to each image, where draws alone do not make sure of that."""
        return self


def change_plainly(operation: PixelOperation, images: np.ndarray, values: np.ndarray) -> None:
    """What `operation.kernel` does, by its function."""
    for image, numbers in zip(images, values.tolist(), strict=True):
        changed = operation.function(torch.from_numpy(image).permute(2, 0, 1), numbers)
        image[:] = changed.permute(1, 2, 0).numpy()


def fixed(values: np.ndarray) -> np.ndarray:
    """Fractions in units of 1 / UNIT, int64."""
    return np.rint(np.asarray(values) * UNIT).astype(np.int64)


def check_number(name: str, value: object, lowest: float = -np.inf, highest: float = np.inf) -> float:
    """A finite number from `lowest` to `highest`. The ValueErrors of these checks are told with key and operation."""
    if not _is_number(value) or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a number{_limits(lowest, highest)}, and is {value!r}")
    return value


def check_integer(name: str, value: object, lowest: int = 1, highest: int = LARGEST_SIDE) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a whole number from {lowest} to {highest}, and is {value!r}")
    return value


def check_probability(p: object) -> float:
    return check_number("p", p, 0, 1)


def check_range(name: str, low_high: object, lowest: float = SMALLEST, highest: float = LARGEST) -> tuple[float, float]:
    """Two numbers, lowest <= low <= high <= highest."""
    if isinstance(low_high, Sequence) and len(low_high) == 2 and all(map(_is_number, low_high)):
        low, high = low_high
        if lowest <= low <= high <= highest:
            return float(low), float(high)
    value = list(low_high) if isinstance(low_high, tuple) else low_high
    raise ValueError(f"{name} must be [low, high], two numbers{_limits(lowest, highest)}, and is {value!r}")


def check_colour(name: str, value: object) -> np.ndarray:
    """(3,) uint8 RGB, of one number for all channels or of three."""
    numbers = list(value) if isinstance(value, list | tuple) else [value] * 3
    if len(numbers) != 3 or any(type(n) is not int or not 0 <= n <= 255 for n in numbers):
        raise ValueError(f"{name} must be a whole number from 0 to 255 or a list of three of them, and is {value!r}")
    return np.array(numbers, np.uint8)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _limits(lowest: float, highest: float) -> str:
    if math.isfinite(lowest) and math.isfinite(highest):
        return f" from {lowest:g} to {highest:g}"
    return f" of at least {lowest:g}" if math.isfinite(lowest) else ""
