"""The pixel operation RandomPerspective."""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import kernel
from formwork.loading.augmentation.affine import Warping
from formwork.loading.augmentation.base import Draw, check_number, check_probability
from formwork.loading.augmentation.warp import (
    as_bits,
    as_floats,
    in_pixels,
    new_scratch,
    pack,
    sample,
    sampled,
    to_pixels,
)


@kernel
def _project(images, values):
    size = images.shape[1]
    scratch = new_scratch(size)
    pixels, place, _ = scratch
    half, one = np.float32(size * 0.5), np.float32(1)
    for i in range(len(images)):
        interpolation, fill = values[i, 8], values[i, 9:]
        if interpolation == 0:
            continue
        pack(images[i], pixels, interpolation, fill)
        m = values[i, :8].view(np.float64)
        a, b, c = np.float32(m[0]), np.float32(m[1]), np.float32(m[2])
        d, e, f = np.float32(m[3]), np.float32(m[4]), np.float32(m[5])
        g, h = np.float32(m[6]), np.float32(m[7])
        for row in range(size):
            y = np.float32(row) + np.float32(0.5)
            by, ey, hy = np.float32(b * y), np.float32(e * y), np.float32(h * y)
            for column in range(np.uint64(size)):
                x = np.float32(column) + np.float32(0.5)
                depth = (x * g + hy) + one
                place[0, column] = in_pixels(((x * a + by) + c) / depth - one + one, half)
                place[1, column] = in_pixels(((x * d + ey) + f) / depth - one + one, half)
            sample(scratch, size, interpolation, fill, images[i, row])


class RandomPerspective(Warping):
    """Move each corner of the image by a random part of its way to the centre, with probability p; torchvision's.

    An image stays as it is where three corners come to lie on a line, as in those of a pixel or two, and near
    distortion_scale 1.

    Args:
        distortion_scale: largest part of the way, in x and in y.
        interpolation: nearest or bilinear.
        fill: colour of what lies outside; null for torchvision's None.
    """

    kernel = staticmethod(_project)

    def __init__(
        self,
        distortion_scale: float = 0.5,
        p: float = 0.5,
        interpolation: str = "bilinear",
        fill: int | Sequence[int] | None = 0,
    ):
        super().__init__(interpolation, fill)
        self.distortion_scale = check_number("distortion_scale", distortion_scale, 0, 1)
        self.p = check_probability(p)

    def corners(self, draw: Draw, resolution: int) -> np.ndarray:
        """(2, 4, B) whole numbers, x and y of where the corners of the image go: top left, top right, bottom right,
        bottom left."""
        reach = int(self.distortion_scale * (resolution // 2)) + 1
        x, y = np.floor(np.stack([draw.uniform(), draw.uniform(1)]) * reach).transpose(0, 2, 1)
        x[1:3] = resolution - 1 - x[1:3]
        y[2:] = resolution - 1 - y[2:]
        return np.stack([x, y])

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        coefficients, possible = perspective(resolution, *self.corners(draw, resolution))
        values = self.values(coefficients)
        values[~possible | (draw.uniform(2)[:, 0] >= self.p), 8] = 0
        return values

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        if values[8] == 0:
            return image
        size = image.shape[1]
        a, b, c, d, e, f, g, h = as_floats(values[:8])
        line = np.arange(size, dtype=np.float32) + np.float32(0.5)
        x, y = line[None], line[:, None]
        half, one = np.float32(size * 0.5), np.float32(1)
        with np.errstate(all="ignore"):
            depth = (x * g + y * h) + one
            places = [((x * u + y * v) + w) / depth - one + one for u, v, w in ((a, b, c), (d, e, f))]
            px, py = (to_pixels(place, half) for place in places)
        return sampled(image, px, py, values[8], values[9:])


def perspective(size: int, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The perspective in which the corners of an image lie elsewhere.

    P. S. Heckbert, "Fundamentals of texture mapping and image warping", 1989, 2.2.3: from the unit square to any
    quadrilateral; here inverted, and for a square of size - 1.

    Args:
        x, y: (4, B) pixels, where its corners go, see RandomPerspective.corners.

    Returns:
        (B, 8) int64, a to h, by as_bits: what is seen at (x, y) was at (a x + b y + c) / (g x + h y + 1),
            (d x + e y + f) / (g x + h y + 1), in units of half a side, from the top left corner.
        (B,) bool, whether there is such a perspective. There is none where three corners lie on a line, and none of
            this form where the horizon runs through the top left corner.
    """
    sum_x, sum_y = x[0] - x[1] + x[2] - x[3], y[0] - y[1] + y[2] - y[3]
    right_x, right_y, below_x, below_y = x[1] - x[2], y[1] - y[2], x[3] - x[2], y[3] - y[2]
    w = right_x * below_y - below_x * right_y
    g, h = sum_x * below_y - below_x * sum_y, right_x * sum_y - sum_x * right_y
    a, b, c = w * (x[1] - x[0]) + g * x[1], w * (x[3] - x[0]) + h * x[3], w * x[0]
    d, e, f = w * (y[1] - y[0]) + g * y[1], w * (y[3] - y[0]) + h * y[3], w * y[0]
    side = size - 1
    inverse = np.stack(
        [
            side * (e * w - f * h), side * (c * h - b * w), side * (b * f - c * e),
            side * (f * g - d * w), side * (a * w - c * g), side * (c * d - a * f),
            d * h - e * g, b * g - a * h, a * e - b * d,
        ],
        axis=1,
    )  # fmt: skip
    with np.errstate(all="ignore"):
        coefficients = (inverse[:, :8] / inverse[:, 8:]).astype(np.float32)
    possible = (w != 0) & np.isfinite(coefficients).all(axis=1)
    coefficients[:, :6] /= np.float32(0.5 * size)
    return as_bits(coefficients), possible
