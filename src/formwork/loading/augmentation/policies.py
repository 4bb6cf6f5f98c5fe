"""Pixel operations that choose other operations for each image: RandAugment and TrivialAugmentWide."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import kernel
from formwork.loading.augmentation.affine import Warping
from formwork.loading.augmentation.base import LARGEST_SIDE, Draw, check_integer
from formwork.loading.augmentation.steps import WIDTH, Space, carried_out, carry_out
from formwork.loading.augmentation.warp import new_scratch

MOST_OPERATIONS = 100  # of one image
HEAD = 4  # values before the steps
NAMES = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
)
NARROW = Space(shear=0.3, translate=150 / 331, of_side=True, rotate=30, factor=0.9, bits=8, fewer_bits=4)
WIDE = Space(shear=0.99, translate=32, of_side=False, rotate=135, factor=0.99, bits=8, fewer_bits=6)


@kernel
def _follow(images, values):
    scratch = new_scratch(images.shape[1])
    memory = np.empty(images.shape[1] * images.shape[2] * 3, np.uint8)
    for i in range(len(images)):
        for start in range(HEAD, values.shape[1], WIDTH):
            carry_out(images[i], values[i, start : start + WIDTH], memory, scratch, values[i, 0], values[i, 1:HEAD])


class Policy(Warping):
    """Values (B, HEAD + n * WIDTH): interpolation and fill, and then n steps one after the other."""

    kernel = staticmethod(_follow)

    def __init__(self, interpolation: str, fill: int | Sequence[int] | None):
        super().__init__(interpolation, fill)
        self.tables: dict[int, np.ndarray] = {}

    @abstractmethod
    def table(self, resolution: int) -> np.ndarray:
        """(..., WIDTH) int64: the steps to choose from, for images of one size."""

    def choices(self, resolution: int) -> np.ndarray:
        """The same, calculated once."""
        if resolution not in self.tables:
            self.tables[resolution] = self.table(resolution)
        return self.tables[resolution]

    def values(self, steps: np.ndarray) -> np.ndarray:
        """Of steps (B, n, WIDTH)."""
        head = np.tile([self.interpolation, *self.fill], (len(steps), 1))
        return np.hstack([head, steps.reshape(len(steps), steps.shape[1] * WIDTH)])

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        for start in range(HEAD, len(values), WIDTH):
            image = carried_out(image, values[start : start + WIDTH], values[0], values[1:HEAD])
        return image


class RandAugment(Policy):
    """Several random operations of one magnitude, one after the other; torchvision's.

    E. D. Cubuk, B. Zoph, J. Shlens and Q. V. Le, "RandAugment: Practical automated data augmentation with a reduced
    search space", 2020.

    Args:
        num_ops: how many. magnitude: how strongly, from 0 to num_magnitude_bins - 1.
        interpolation, fill: as for RandomRotation.
    """

    def __init__(
        self,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: str = "nearest",
        fill: int | Sequence[int] | None = None,
    ):
        super().__init__(interpolation, fill)
        self.num_ops = check_integer("num_ops", num_ops, 0, MOST_OPERATIONS)
        self.bins = check_integer("num_magnitude_bins", num_magnitude_bins, 2)
        self.magnitude = check_integer("magnitude", magnitude, 0, self.bins - 1)

    def table(self, resolution: int) -> np.ndarray:
        """(operations, signs, WIDTH)."""
        return np.stack([NARROW.steps(name, self.bins, resolution)[:, self.magnitude] for name in NAMES])

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        u = draw.uniforms(2 * self.num_ops)
        which, turned = (u[:, ::2] * len(NAMES)).astype(int), (u[:, 1::2] <= 0.5).astype(int)
        return self.values(self.choices(resolution)[which, turned])


class TrivialAugmentWide(Policy):
    """One random operation of a random magnitude; torchvision's.

    S. G. Müller and F. Hutter, "TrivialAugment: Tuning-free yet state-of-the-art data augmentation", ICCV 2021.

    Args:
        num_magnitude_bins: how many magnitudes there are.
        interpolation, fill: as for RandomRotation.
    """

    def __init__(
        self,
        num_magnitude_bins: int = 31,
        interpolation: str = "nearest",
        fill: int | Sequence[int] | None = None,
    ):
        super().__init__(interpolation, fill)
        self.bins = check_integer("num_magnitude_bins", num_magnitude_bins, 2, LARGEST_SIDE)

    def table(self, resolution: int) -> np.ndarray:
        """(operations, signs, magnitudes, WIDTH)."""
        return np.stack([WIDE.steps(name, self.bins, resolution) for name in NAMES])

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        u = draw.uniform()
        which, magnitude = (u[:, 0] * len(NAMES)).astype(int), (u[:, 1] * self.bins).astype(int)
        turned = (u[:, 2] <= 0.5).astype(int)
        return self.values(self.choices(resolution)[which, turned, magnitude][:, None])
