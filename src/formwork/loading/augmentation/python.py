"""Operations that are plain Python: torchvision's without a form of ours, and functions and classes of the user's.

They take one image at a time and hold the GIL, so both loaders carry them out in worker processes. Whatever they draw
from torch's, NumPy's or Python's generator is seeded for each image, and so is the same with both loaders.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
import torch

from formwork.loading.augmentation.base import Draw, PixelOperation, change_plainly
from formwork.loading.augmentation.faults import check_image
from formwork.loading.augmentation.trial import trial_images

TIMED = 5  # images


class PythonOperation(PixelOperation):
    """Makes a pixel operation of a function of an image.

    Args:
        transform: takes an image (3, S, S) uint8, and gives another one.
    """

    def __init__(self, transform: Callable[[torch.Tensor], Any]):
        self.transform = transform

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, 1): seeds."""
        return (draw.uniform()[:, :1] * 2**32).astype(np.int64)

    def kernel(self, images: np.ndarray, values: np.ndarray) -> None:
        change_plainly(self, images, values)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        with seeded(int(values[0])):
            return check_image(self.transform(image), image.shape[-1])

    def seconds(self, side: int) -> float:
        """What one image of this side takes on this machine: the least of a few."""
        image = next(trial_images(side))
        times = []
        for seed in range(TIMED):
            start = time.perf_counter()
            self.function(image, [seed])
            times.append(time.perf_counter() - start)
        return min(times)

    def certain(self) -> "PythonOperation":
        if not isinstance(getattr(self.transform, "p", None), int | float):
            return self
        transform = copy(self.transform)
        transform.p = 1.0  # type: ignore[attr-defined]
        return PythonOperation(transform)


def is_native(operation: PixelOperation) -> bool:
    """Whether it is one of this package, which has a kernel of ours and cannot fail: not FFCV's, and not the user's."""
    return type(operation).__module__.startswith(f"{__package__}.") and not isinstance(operation, PythonOperation)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators of this process, and leave them as they were."""
    with same_random_state():
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  (the one that is shared)
        torch.manual_seed(seed)
        yield


@contextmanager
def same_random_state() -> Iterator[None]:
    """Leave the generators of this process as they were: an operation may draw from any of them."""
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  (the one that is shared)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002
