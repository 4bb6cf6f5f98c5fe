"""Pixel operations RandomRotation and RandomAffine; torchvision's, for images of the same size as before."""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import kernel
from formwork.loading.augmentation.base import (
    LARGEST,
    LARGEST_SIDE,
    Draw,
    PixelOperation,
    check_colour,
    check_number,
    check_range,
)
from formwork.loading.augmentation.warp import BILINEAR, NEAREST, NO_FILL, affine, new_scratch, warp, warped

INTERPOLATIONS = {"nearest": NEAREST, "bilinear": BILINEAR}
Range = tuple[float, float]
NONE: Range = 0.0, 0.0


@kernel
def _warp(images, values):
    scratch = new_scratch(images.shape[1])
    for i in range(len(images)):
        warp(images[i], scratch, values[i, :6], values[i, 6], values[i, 7:])


class Warping(PixelOperation):
    """Values (B, P): coefficients, and in the last four the interpolation and the colour of what lies outside."""

    def __init__(self, interpolation: str, fill: int | Sequence[int] | None):
        if not isinstance(interpolation, str) or interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, and is {interpolation!r}")
        self.interpolation = INTERPOLATIONS[interpolation]
        self.fill = np.array(NO_FILL) if fill is None else check_colour("fill", fill).astype(np.int64)

    def values(self, coefficients: np.ndarray) -> np.ndarray:
        """(B, P), of coefficients (B, P - 4)."""
        return np.hstack([coefficients, np.tile([self.interpolation, *self.fill], (len(coefficients), 1))])


class _Affine(Warping):
    """Coefficients as of formwork.loading.augmentation.warp.affine."""

    kernel = staticmethod(_warp)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        return warped(image, values[:6], values[6], values[7:])


class RandomRotation(_Affine):
    """Rotate by a random angle around the centre; torchvision's.

    Args:
        degrees: range [low, high] of the angle, counter-clockwise, or a number x for [-x, x].
        interpolation: nearest or bilinear.
        expand: only false: the image would change its size.
        center: what is rotated around, [x, y] in pixels from the top left corner of the training image.
        fill: colour of what lies outside; null for torchvision's None.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: str = "nearest",
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: int | Sequence[int] | None = 0,
    ):
        super().__init__(interpolation, fill)
        if expand is not False:
            raise ValueError(f"expand must be false, as all images of a batch have one size, and is {expand!r}")
        self.degrees = check_angles("degrees", degrees)
        self.center = check_center(center)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        angle = between(self.degrees, draw.uniform()[:, 0])
        return self.values(affine(resolution, angle=-angle, center=self.center))


class RandomAffine(_Affine):
    """Rotate, shift, scale and shear by random amounts, around the centre; torchvision's.

    Args:
        degrees: range [low, high] of the angle, clockwise, or a number x for [-x, x].
        translate: largest shift to each side, as a share of the image's: [horizontal, vertical]. Whole pixels.
        scale: range [low, high] of the factor.
        shear: range [low, high] of the angle along x, in degrees, or a number x for [-x, x], or four numbers, the
            ranges along x and along y.
        interpolation, fill, center: as for RandomRotation.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: str = "nearest",
        fill: int | Sequence[int] | None = 0,
        center: Sequence[float] | None = None,
    ):
        super().__init__(interpolation, fill)
        self.degrees = check_angles("degrees", degrees)
        self.translate = NONE if translate is None else check_pair("translate", translate, 0, 1)
        self.scale = (1.0, 1.0) if scale is None else check_range("scale", scale)
        self.shear_x, self.shear_y = NONE, NONE
        if isinstance(shear, list | tuple) and len(shear) == 4:
            self.shear_x, self.shear_y = check_angles("shear", shear[:2]), check_angles("shear", shear[2:])
        elif isinstance(shear, list | tuple) and len(shear) != 2:
            raise ValueError(f"shear must be a number, [low, high] or [low x, high x, low y, high y], and is {shear!r}")
        elif shear is not None:
            self.shear_x = check_angles("shear", shear)
        self.center = check_center(center)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        u, more = draw.uniform(), draw.uniform(1)
        x, y = (np.rint(share * resolution * (2 * u[:, i] - 1)) for i, share in enumerate(self.translate, start=1))
        return self.values(
            affine(
                resolution,
                angle=between(self.degrees, u[:, 0]),
                translate_x=x,
                translate_y=y,
                scale=between(self.scale, u[:, 3]),
                shear_x=between(self.shear_x, more[:, 0]),
                shear_y=between(self.shear_y, more[:, 1]),
                center=self.center,
            )
        )


def between(low_high: Range, uniform: np.ndarray) -> np.ndarray:
    """Numbers from `low` to `high`, of those from 0 to 1."""
    low, high = low_high
    return low + (high - low) * uniform


def check_angles(name: str, value: object) -> Range:
    """A range of degrees, of [low, high] or of x for [-x, x]."""
    if isinstance(value, list | tuple):
        return check_range(name, value, -LARGEST, LARGEST)
    largest = float(check_number(name, value, 0, LARGEST))
    return -largest, largest


def check_pair(name: str, value: object, lowest: float, highest: float) -> tuple[float, float]:
    """Two numbers, each from `lowest` to `highest`."""
    try:
        x, y = value if isinstance(value, list | tuple) else ()
        return float(check_number(name, x, lowest, highest)), float(check_number(name, y, lowest, highest))
    except ValueError:
        limits = f"two numbers from {lowest:g} to {highest:g}"
        raise ValueError(f"{name} must be [x, y], {limits}, and is {value!r}") from None


def check_center(value: object) -> tuple[float, float] | None:
    return None if value is None else check_pair("center", value, -LARGEST_SIDE, LARGEST_SIDE)
