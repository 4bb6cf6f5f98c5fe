"""What policies such as RandAugment consist of: one of fifteen operations, with a magnitude that says how strongly.

The operations and their names are those of the AutoAugment family, with the meaning that torchvision gives them in
transforms.v2. A step is (WIDTH,) int64: which operation, and its numbers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel
from formwork.loading.augmentation.base import UNIT
from formwork.loading.augmentation.colour import BRIGHTNESS, CONTRAST, SATURATION, adjust, adjusted
from formwork.loading.augmentation.levels import (
    AUTOCONTRAST,
    EQUALIZE,
    NOTHING,
    POSTERIZE,
    SOLARIZE,
    change_levels,
    with_levels,
)
from formwork.loading.augmentation.sharpness import sharpen, sharpened
from formwork.loading.augmentation.warp import affine, warp, warped

WARP, SHARPEN, ADJUST = 10, 11, 20  # beside those of levels.py; ADJUST and more are those of colour.py
WIDTH = 7

FACTORS = {
    "Brightness": ADJUST + BRIGHTNESS,
    "Color": ADJUST + SATURATION,
    "Contrast": ADJUST + CONTRAST,
    "Sharpness": SHARPEN,
}
SIGNED = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", *FACTORS}
"""Operations whose magnitude gets a random sign."""


class Space(NamedTuple):
    """The strongest magnitudes of a policy.

    Attributes:
        shear: tangent of the angle. rotate: degrees.
        translate: pixels, or as a share of the image's side where `of_side`.
        factor: what is added to 1, for brightness, colour, contrast and sharpness.
        bits, fewer_bits: which posterise keeps at magnitude 0, and by how many fewer at the strongest.
    """

    shear: float
    translate: float
    of_side: bool
    rotate: float
    factor: float
    bits: int
    fewer_bits: int

    def magnitudes(self, name: str, bins: int, size: int) -> torch.Tensor:
        """(bins,) of an operation, from nothing to the strongest, for images of `size` pixels a side; zeros where it
        has none. In float32, as torchvision has it."""
        if name == "Posterize":
            return (self.bits - torch.arange(bins) / ((bins - 1) / self.fewer_bits)).round()
        if name == "Solarize":
            return torch.linspace(1.0, 0.0, bins)
        if name not in SIGNED:
            return torch.zeros(bins)
        strongest = {
            "Shear": self.shear,
            "Translate": self.translate * size if self.of_side else self.translate,
            "Rotate": self.rotate,
        }
        return torch.linspace(0.0, strongest.get(name.rstrip("XY"), self.factor), bins)

    def steps(self, name: str, bins: int, size: int) -> np.ndarray:
        """(2, bins, WIDTH) int64: the steps of all magnitudes, with their sign as it is and turned round."""
        magnitudes = self.magnitudes(name, bins, size).double().numpy()
        signs = [1, -1] if name in SIGNED else [1, 1]
        return np.stack([steps(name, sign * magnitudes, size) for sign in signs])


def steps(name: str, magnitudes: np.ndarray, size: int) -> np.ndarray:
    """(N, WIDTH) int64, of (N,) float64 magnitudes of one operation, for images of size x size pixels."""
    out = np.zeros((len(magnitudes), WIDTH), np.int64)
    whole = np.trunc(magnitudes)
    angle = np.degrees(np.arctan(magnitudes))
    if name in FACTORS:
        out[:, 0], out[:, 1] = FACTORS[name], np.rint((1 + magnitudes) * UNIT)
    elif name == "Posterize":
        out[:, 0], out[:, 1] = POSTERIZE, magnitudes
    elif name == "Solarize":
        out[:, 0], out[:, 1] = SOLARIZE, np.ceil((255 * magnitudes).astype(np.float32))
    elif name in WITHOUT_MAGNITUDE:
        out[:, 0] = WITHOUT_MAGNITUDE[name]
    else:
        moves = {
            "ShearX": lambda: affine(size, shear_x=angle, center=(0, 0)),
            "ShearY": lambda: affine(size, shear_y=angle, center=(0, 0)),
            "TranslateX": lambda: affine(size, translate_x=whole),
            "TranslateY": lambda: affine(size, translate_y=whole),
            "Rotate": lambda: affine(size, angle=-magnitudes),
        }
        out[:, 0], out[:, 1:] = WARP, moves[name]()
    return out


WITHOUT_MAGNITUDE = {
    "Identity": NOTHING,
    "AutoContrast": AUTOCONTRAST,
    "Equalize": EQUALIZE,
    "Invert": SOLARIZE,  # from 0 on
}


@inner_kernel
def carry_out(image, step, memory, scratch, interpolation, fill):
    """Change an image (S, S, 3) uint8 in place.

    Args:
        step: (WIDTH,) int64.
        memory: uint8 to work in, of the size of the image. scratch, interpolation, fill: see warp.
    """
    what = step[0]
    if what == WARP:
        warp(image, scratch, step[1:], interpolation, fill)
    elif what == SHARPEN:
        sharpen(image, step[1], memory)
    else:
        pixels = image.reshape(image.shape[0] * image.shape[1], 3)
        if what >= ADJUST:
            adjust(pixels, what - ADJUST, np.int32(step[1]))
        else:
            change_levels(pixels, what, step[1])


def carried_out(image: torch.Tensor, step: Sequence[int], interpolation: int, fill: Sequence[int]) -> torch.Tensor:
    """The same with torch: an image (3, S, S) uint8; gives a new one, or `image` itself."""
    what, number = step[:2]
    if what == WARP:
        return warped(image, step[1:], interpolation, fill)
    if what == SHARPEN:
        return sharpened(image, number)
    return adjusted(image, what - ADJUST, number) if what >= ADJUST else with_levels(image, what, number)
