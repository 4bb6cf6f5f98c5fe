"""Mixup: images and labels of two samples, blended.

H. Zhang, M. Cisse, Y. N. Dauphin and D. Lopez-Paz, "mixup: Beyond empirical risk minimization", ICLR 2018.

The partner of a sample is its neighbour in the order of the epoch (see formwork.loading.order.Indices), and not just
any image of its batch: so the same images are mixed for any batch size and any number of processes. In batches of an
even size a sample and its partner stand in the same batch, and nothing is decoded twice.
"""

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel
from formwork.loading.augmentation.base import HALF, PRECISION, UNIT, Draw, check_number, fixed

ALPHA = 0.001, 1000  # from almost nothing mixed to always half of each


class Mixup:
    """Each image is `share` of itself and the rest of its partner; the share is drawn from Beta(alpha, alpha)."""

    def __init__(self, alpha: float = 0.2):
        self.alpha = check_number("alpha", alpha, *ALPHA)

    def draw(self, draw: Draw) -> np.ndarray:
        """(B,) int64 the share, in units of 1 / UNIT."""
        from scipy.special import betaincinv  # here, because it takes 0.1 s and most lists do not need it

        return fixed(betaincinv(self.alpha, self.alpha, draw.uniform()[:, 0]))


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


def blended(one: torch.Tensor, other: torch.Tensor, shares: np.ndarray) -> torch.Tensor:
    """The same with torch: one, other: (B, 3, H, W) uint8; shares: (B,) int64."""
    share = torch.from_numpy(shares).int().view(-1, 1, 1, 1)
    return ((one.int() * share + other.int() * (UNIT - share) + HALF) >> PRECISION).byte()
