"""Mixup and CutMix: images and targets of two samples, mixed. A list ends with one of them, or with both.

Mixup blends whole images: H. Zhang, M. Cisse, Y. N. Dauphin and D. Lopez-Paz, "mixup: Beyond empirical risk
minimization", ICLR 2018. CutMix shows a part of the other image: S. Yun, D. Han, S. J. Oh, S. Chun, J. Choe and Y. Yoo,
"CutMix: Regularization strategy to train strong classifiers with localizable features", ICCV 2019.

The partner of a sample is its neighbour in the order of the epoch (see formwork.loading.order.Indices), and not just
any image of its batch: so the same images are mixed for any batch size and any number of processes. In batches of an
even size a sample and its partner stand in the same batch, and nothing is decoded twice.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel
from formwork.loading.augmentation.base import HALF, PRECISION, UNIT, Draw, check_number, check_probability, fixed

ALPHA = 0.001, 1000  # from almost nothing mixed to always half of each
ROUNDING = 1e-9  # of a sum of probabilities


class Mix(NamedTuple):
    """How B images of S x S pixels are mixed with their partners.

    Attributes:
        values: (B, 5) int64. An image is blended with its partner within a box, and stays as it is outside: its share
            there, in units of 1 / UNIT; the top, left, bottom and right edge of the box, in pixels.
        shares: (B,) float64, how much of its targets and weight is its own: 1 less the area that shows the partner,
            times the partner's share there, as part of all.
    """

    values: np.ndarray
    shares: np.ndarray


NO_MIX = Mix(np.empty((0, 5), np.int64), np.empty(0))


class MixOperation(ABC):
    """Mixes images, each with probability p, where no other of the list does."""

    def __init__(self, alpha: float, p: float):
        self.alpha = check_number("alpha", alpha, *ALPHA)
        self.p = check_probability(p)

    @abstractmethod
    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        """(B, 5), see Mix.values."""

    def beta(self, uniform: np.ndarray) -> np.ndarray:
        """(B,) int64 numbers of Beta(alpha, alpha), in units of 1 / UNIT, of uniform ones."""
        from scipy.special import betaincinv  # here, because it takes 0.1 s and most lists do not need it

        return fixed(betaincinv(self.alpha, self.alpha, uniform))


class Mixup(MixOperation):
    """Each image is `share` of itself and the rest of its partner; the share is drawn from Beta(alpha, alpha)."""

    def __init__(self, alpha: float = 0.2, p: float = 1.0):
        super().__init__(alpha, p)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        values = np.full((len(draw.ids), 5), [0, 0, 0, resolution, resolution], np.int64)
        values[:, 0] = self.beta(draw.uniform()[:, 0])
        return values


class CutMix(MixOperation):
    """A box of each image shows the same part of its partner; torchvision's.

    Its area is 1 - share of the image's, the share drawn from Beta(alpha, alpha), its proportions are the image's, and
    its centre is any pixel; what lies outside the image is cut off. Targets are mixed by the area that is left.
    """

    def __init__(self, alpha: float = 1.0, p: float = 1.0):
        super().__init__(alpha, p)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        uniform = draw.uniform()
        half = (0.5 * np.sqrt(1 - self.beta(uniform[:, 0]) / UNIT) * resolution).astype(np.int64)
        centre = (uniform[:, 1:3] * resolution).astype(np.int64)
        start, stop = np.maximum(centre - half[:, None], 0), np.minimum(centre + half[:, None], resolution)
        return np.hstack([np.zeros((len(half), 1), np.int64), start, stop])


class Mixing:
    """What is done to images last: by each operation of a list that mixes, to a part of them.

    Raises:
        ValueError: together they mix more than all images.
    """

    def __init__(self, operations: Mapping[str, MixOperation]):
        self.operations = operations
        if sum(operation.p for operation in operations.values()) > 1 + ROUNDING:
            given = " and ".join(f"{operation.p:g}" for operation in operations.values())
            halves = ", ".join(f"{name}: {{p: 0.5}}" for name in operations)
            raise ValueError(
                f"{' and '.join(operations)} mix each image at most once, so that their p are at most 1 together, and "
                f"they are {given}. Give each its part, such as {halves}"
            )

    def draw(self, seed: int, epoch: int, ids: np.ndarray, resolution: int) -> Mix:
        """How (B,) draws are mixed, whatever batch they are in."""
        values = np.zeros((len(ids), 5), np.int64)
        (first, *others) = self.operations.items()
        if not others and first[1].p == 1:
            values = first[1].draw(Draw(seed, epoch, ids, first[0]), resolution)
        else:
            which, start = Draw(seed, epoch, ids, "mixing").uniform()[:, 0], 0.0
            for name, operation in sorted(self.operations.items()):
                chosen = (start <= which) & (which < start + operation.p)
                values[chosen] = operation.draw(Draw(seed, epoch, ids[chosen], name), resolution)
                start += operation.p
        share, top, left, bottom, right = values.T
        return Mix(values, 1 - (1 - share / UNIT) * ((bottom - top) * (right - left) / resolution**2))


def with_partners(draws: np.ndarray, partners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is needed to mix a batch.

    Returns:
        (N,) draws, those of the batch first, then partners that are not in it; (B,) places of the partners there.
    """
    missing = np.setdiff1d(partners, draws)
    needed = np.concatenate([draws, missing])
    by_id = np.argsort(needed)
    return needed, by_id[np.searchsorted(needed, partners, sorter=by_id)]


@inner_kernel
def blend(one, other, share, out):
    """one, other, out: (N,) uint8; share: int32 in units of 1 / UNIT."""
    rest = np.int32(UNIT - share)
    for i in range(np.uint64(len(out))):
        total = np.int32(np.int32(one[i]) * share + np.int32(other[i]) * rest + HALF)
        out[i] = total >> np.int32(PRECISION)


def mixed(one: torch.Tensor, other: torch.Tensor, values: np.ndarray) -> torch.Tensor:
    """An image (3, S, S) uint8, mixed with its partner by a row of Mix.values; a new one, or `one` itself."""
    share, top, left, bottom, right = values.tolist()
    if top >= bottom or left >= right:
        return one
    out = one.clone()
    inside, other = out[:, top:bottom, left:right], other[:, top:bottom, left:right]
    inside.copy_(((inside.int() * share + other.int() * (UNIT - share) + HALF) >> PRECISION).byte() if share else other)
    return out
