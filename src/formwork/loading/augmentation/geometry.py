"""Geometric operations: the part of an image that becomes the training image, shifted and mirrored."""

from collections.abc import Sequence

import numpy as np

from formwork.loading.augmentation.base import (
    AugmentPlan,
    Draw,
    GeometricOperation,
    check_colour,
    check_integer,
    check_number,
    check_probability,
    check_range,
)

CROP_ATTEMPTS = 10  # of torchvision.transforms.RandomResizedCrop, before it falls back to a centre crop
AT_ONCE = 1024  # of them, for all images together: calls of NumPy cost as much as the numbers in them
SMALLEST_RATIO = 0.01  # of CenterCrop: a part of a hundredth of each side


class Resize(GeometricOperation):
    """Scale the whole image to the training resolution, whatever its proportions."""

    def apply(self, plan: AugmentPlan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        plan.box[:] = plan.window[:] = np.stack([0 * widths, 0 * heights, widths, heights], axis=1)


class CenterCrop(GeometricOperation):
    """Scale the shorter side to resolution / ratio and keep the centre, as torchvision's Resize and CenterCrop do.

    224 pixels with ratio 0.875 is the usual Resize(256), CenterCrop(224).
    """

    def __init__(self, ratio: float = 1.0):
        self.ratio = check_number("ratio", ratio, SMALLEST_RATIO, 1)

    def apply(self, plan: AugmentPlan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        short = round(resolution / self.ratio)
        shorter = np.minimum(heights, widths)
        for axis, sides in ((0, widths), (1, heights)):
            scaled = sides * short // shorter  # torchvision: int(short * long / shorter)
            offset = np.rint((scaled - resolution) / 2)
            plan.box[:, axis] = offset * sides / scaled
            plan.box[:, axis + 2] = (offset + resolution) * sides / scaled
            plan.window[:, axis] = 0
            plan.window[:, axis + 2] = sides


class RandomResizedCrop(GeometricOperation):
    """A random part of the image, scaled to the training resolution; as torchvision's, from our generator.

    Args:
        scale: range of the part's area, as a share of the image's.
        ratio: range of the part's width over its height.
    """

    def __init__(self, scale: Sequence[float] = (0.08, 1.0), ratio: Sequence[float] = (3 / 4, 4 / 3)):
        self.scale = check_range("scale", scale, highest=1)
        self.ratio = check_range("ratio", ratio)

    def apply(self, plan: AugmentPlan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        low, high = np.log(self.ratio)
        # The fallback: the largest centred part whose proportions are allowed.
        w = np.minimum(widths, np.maximum(np.rint(heights * self.ratio[1]), 1)).astype(np.int64)
        h = np.minimum(heights, np.maximum(np.rint(widths / self.ratio[0]), 1)).astype(np.int64)
        crop = np.array([(widths - w) // 2, (heights - h) // 2, w, h], np.float64)
        pending, done = np.arange(len(heights)), 0
        while len(pending) and done < CROP_ATTEMPTS:
            attempts = range(done, min(done + max(AT_ONCE // len(pending), 2), CROP_ATTEMPTS))
            u = draw.of_blocks(attempts, pending)
            tall, wide = heights[pending], widths[pending]
            area = tall * wide * (self.scale[0] + (self.scale[1] - self.scale[0]) * u[..., 0])
            aspect = np.exp(low + (high - low) * u[..., 1])
            cw, ch = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
            fits = (cw >= 1) & (ch >= 1) & (cw <= wide) & (ch <= tall)
            first = fits.argmax(axis=0), np.arange(len(pending))  # the first attempt that fits, or any
            found, cw, ch, u = fits[first], cw[first], ch[first], u[first]
            y, x = np.floor(u[:, 2] * (tall - ch + 1)), np.floor(u[:, 3] * (wide - cw + 1))
            crop[:, pending[found]] = np.array([x, y, cw, ch])[:, found]
            pending, done = pending[~found], attempts.stop
        crop[2:] += crop[:2]
        plan.box[:] = plan.window[:] = crop.T


class RandomCrop(GeometricOperation):
    """Pad the scaled image by `padding` pixels of the colour `fill` on every side and cut a random part of its own size
    out."""

    decides = "shift"

    def __init__(self, padding: int, fill: int | Sequence[int] = 0):
        self.padding = check_integer("padding", padding)
        self.fill = check_colour("fill", fill)

    def offsets(self, draw: Draw) -> np.ndarray:
        """(B, 2) int32, pixel (y, x) shows what was at (y + offset[0], x + offset[1])."""
        return np.floor(draw.uniform()[:, :2] * (2 * self.padding + 1)).astype(np.int32) - self.padding

    def apply(self, plan: AugmentPlan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        offsets = self.offsets(draw)
        # A plan shifts first and flips after: shifting a mirrored image is shifting the other way before.
        offsets[:, 1] = np.where(plan.flip, -offsets[:, 1], offsets[:, 1])
        plan.shift[:] = offsets
        plan.fill[:] = self.fill


class RandomTranslate(RandomCrop):
    """RandomCrop by the name that it has in FFCV: shift by up to `padding` pixels each way."""


class RandomHorizontalFlip(GeometricOperation):
    """Mirror left and right with probability p."""

    decides = "flip"

    def __init__(self, p: float = 0.5):
        self.p = check_probability(p)

    def apply(self, plan: AugmentPlan, heights: np.ndarray, widths: np.ndarray, resolution: int, draw: Draw) -> None:
        plan.flip[:] = draw.uniform()[:, 0] < self.p
