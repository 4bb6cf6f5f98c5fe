"""An operation of the user's that FFCVDataLoader cannot have: a list with it makes loading fall back."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from formwork import own
from formwork.loading.augmentation.base import Draw, PixelOperation

REASON = "augment.train: Uncompiled: it cannot change an image of {0} x {0} pixels: it has no kernel"


class Uncompiled(PixelOperation):
    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        return np.zeros((len(draw.ids), 1), np.int64)

    def kernel(self, images: np.ndarray, values: np.ndarray) -> None:
        raise ValueError("it has no kernel")

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        return 255 - image


@pytest.fixture
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The entry of a list."""
    monkeypatch.setattr(own, "operations", lambda: {"Uncompiled": Uncompiled})
    return {"Uncompiled": {}}
