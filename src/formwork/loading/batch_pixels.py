"""The memory of the images of a batch."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch

from formwork.loading.buffers import ALIGNMENT, BufferPool
from formwork.loading.dtypes import as_tensor


class BatchPixels:
    """N images of each of V views, row by row and channels last. Views of the same side lie one behind the other.

    Args:
        sides: of each view, in pixels.
        dtype: see formwork.loading.dtypes.STORED.

    Attributes:
        flat: (values,), all of it.
        sides: (V,) int64. places: (V,) int64, where each view begins in `flat`.
        views: of each, (N, S, S, 3), parts of `flat`.
    """

    def __init__(self, pool: BufferPool, sides: Sequence[int], count: int, dtype: np.dtype | type):
        step, end, places = ALIGNMENT // np.dtype(dtype).itemsize, 0, [0] * len(sides)
        self._groups: list[tuple[int, int, int]] = []  # views, side, and start of those of a side
        for side in dict.fromkeys(sides):
            start, size = -(-end // step) * step, count * side * side * 3
            end = start
            for view, of_view in enumerate(sides):
                if of_view == side:
                    places[view], end = end, end + size
            self._groups.append((sides.count(side), side, start))
        self.flat = pool.take((end,), dtype)
        self.count = count
        self.sides, self.places = np.array(sides, np.int64), np.array(places, np.int64)
        self.views = [
            self.flat[place : place + count * side * side * 3].reshape(count, side, side, 3)
            for side, place in zip(sides, places, strict=True)
        ]

    def images(self, several: bool) -> Any:
        """As a batch has them, the same memory; see formwork.loading.base.Batch.

        Args:
            several: whether images have an axis of views.
        """
        if not several:  # in few steps: small images take less time than some of torch's
            return as_tensor(self.views[0]).permute(0, 3, 1, 2)
        shown = [self._shown(*group) for group in self._groups]
        return shown[0] if len(shown) == 1 else tuple(shown)

    def _shown(self, views: int, side: int, start: int) -> torch.Tensor:
        """(N, views, 3, side, side)."""
        shape = views, self.count, side, side, 3
        return as_tensor(self.flat[start : start + prod(shape)]).view(shape).permute(1, 0, 4, 2, 3)
