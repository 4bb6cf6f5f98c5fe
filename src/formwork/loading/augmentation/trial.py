"""What a list of operations is tried with when it is made, so that none fails hours later."""

import time
import zlib
from collections.abc import Iterator

import numpy as np
import torch

from formwork.loading.augmentation.base import AugmentPlan, Draw
from formwork.loading.augmentation.faults import WrongResult

FEWEST, MOST, SECONDS = 3, 16, 0.05
SOURCES = ((1, 1), (480, 640), (3, 500), (500, 3), (37, 53), (64, 64))
"""Heights and widths of the images that the training images are made of."""


class Extremes(Draw):
    """Every second image gets the smallest or the largest of all random numbers, and the others any."""

    def uniform(self, block: int = 0) -> np.ndarray:
        # Not from the kernel that batches draw from: it takes 0.8 s to load, which not all who make a list need.
        numbers = np.random.default_rng([zlib.crc32(self.purpose.encode()), block]).random((len(self.ids), 4))
        numbers[0::4], numbers[2::4] = 0, np.nextafter(1, 0)
        return numbers

    def of_blocks(self, blocks: range, rows: np.ndarray) -> np.ndarray:
        return np.stack([self.uniform(block)[rows] for block in blocks])


def trial_sizes() -> tuple[np.ndarray, np.ndarray]:
    """(MOST,) int64 heights and widths of the images that the training images are made of."""
    heights, widths = np.array([SOURCES[i % len(SOURCES)] for i in range(MOST)], np.int64).T
    return heights, widths


def trial_images(size: int) -> Iterator[torch.Tensor]:
    """Up to MOST training images (3, size, size) uint8, of noise, of black and of white; at least FEWEST, and then as
    many as are taken in SECONDS."""
    end = time.monotonic() + SECONDS
    for i in range(MOST):
        if i >= FEWEST and time.monotonic() > end:
            return
        yield _image(i, size)


def check_geometry(plan: AugmentPlan, heights: np.ndarray, widths: np.ndarray) -> None:
    """Raises WrongResult: a geometric operation left a plan that no loader can carry out."""
    count = len(heights)
    expected = {"box": (count, 4), "window": (count, 4), "shift": (count, 2), "flip": (count,), "fill": (3,)}
    types = {"box": np.float32, "window": np.int32, "shift": np.int32, "flip": np.bool_, "fill": np.uint8}
    for name, shape in expected.items():
        found = getattr(plan, name)
        if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype != types[name]:
            raise WrongResult(f"it must change plan.{name} in place, {shape} of {np.dtype(types[name])}")
    left, top, right, bottom = plan.window.T
    inside = (left >= 0) & (top >= 0) & (left < right) & (top < bottom) & (right <= widths) & (bottom <= heights)
    if not inside.all():
        i = int(np.flatnonzero(~inside)[0])
        raise WrongResult(
            f"it gives plan.window {plan.window[i].tolist()} for an image {widths[i]} pixels wide and {heights[i]} high"
        )
    left, top, right, bottom = plan.box.T
    if not (np.isfinite(plan.box).all() and (left < right).all() and (top < bottom).all()):
        raise WrongResult("it gives a plan.box that is not left < right and top < bottom")


def check_values(values: object, count: int) -> np.ndarray:
    """What a pixel operation drew for `count` images, as (count, P) int64.

    Raises:
        WrongResult: it is something else.
    """
    if not isinstance(values, np.ndarray) or values.ndim != 2 or len(values) != count:
        found = values.shape if isinstance(values, np.ndarray) else type(values).__name__
        raise WrongResult(f"its draw must give an array ({count}, P) for {count} images, and gives {found}")
    return np.ascontiguousarray(values, dtype=np.int64)


def _image(i: int, size: int) -> torch.Tensor:
    """(3, size, size) uint8."""
    if i % 3 == 1:
        return torch.full((3, size, size), 255 * (i % 2), dtype=torch.uint8)
    return torch.from_numpy(np.random.default_rng(i).integers(0, 256, (3, size, size), np.uint8))
