"""The pixel operation AugMix."""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import inner_kernel, kernel
from formwork.loading.augmentation.base import PRECISION, UNIT, Draw, check_integer, check_number, fixed
from formwork.loading.augmentation.policies import HEAD, NAMES, Policy
from formwork.loading.augmentation.steps import FACTORS, WIDTH, Space, carry_out
from formwork.loading.augmentation.warp import new_scratch

STRONGEST = 10  # severity, and number of magnitudes
MOST = 10  # chains, and operations of a chain
RANDOM_DEPTH = 3  # operations of a chain at most, where their number is random
ALPHA = 0.001, 1000
SPACE = Space(shear=0.3, translate=1 / 3, of_side=True, rotate=30, factor=0.9, bits=4, fewer_bits=4)


@inner_kernel
def _add(pixels, weight, total):
    for k in range(np.uint64(len(total))):
        total[k] += weight * np.int32(pixels[k])


@kernel
def _mix(images, values, chains):
    scratch = new_scratch(images.shape[1])
    length = images.shape[1] * images.shape[2] * 3
    memory, total = np.empty(length, np.uint8), np.empty(length, np.int32)
    changed = np.empty((images.shape[1], images.shape[2], 3), np.uint8)
    first = HEAD + 1 + chains  # steps follow the weights
    per_chain = (values.shape[1] - first) // chains
    for i in range(len(images)):
        before, after = images[i].reshape(length), changed.reshape(length)
        for k in range(np.uint64(length)):
            total[k] = 0
        _add(before, np.int32(values[i, HEAD]), total)
        for chain in range(chains):
            for k in range(np.uint64(length)):
                after[k] = before[k]
            start = first + chain * per_chain
            for k in range(start, start + per_chain, WIDTH):
                carry_out(changed, values[i, k : k + WIDTH], memory, scratch, values[i, 0], values[i, 1:HEAD])
            _add(after, np.int32(values[i, HEAD + 1 + chain]), total)
        for k in range(np.uint64(length)):
            before[k] = total[k] >> np.int32(PRECISION)


class AugMix(Policy):
    """The image, mixed with what several chains of random operations make of it; torchvision's.

    Values (B, HEAD + 1 + chains + n * WIDTH): interpolation and fill; the weights of the image and of each chain, in
    units of 1 / UNIT; the steps of each chain.

    D. Hendrycks, N. Mu, E. D. Cubuk, B. Zoph, J. Gilmer and B. Lakshminarayanan, "AugMix: A simple data processing
    method to improve robustness and uncertainty", ICLR 2020.

    Args:
        severity: the magnitude of operations is below this one of ten.
        mixture_width: number of chains. chain_depth: operations of a chain; one to three, at random, where it is -1.
        alpha: of the Dirichlet distribution of the chains' weights, and of the Beta distribution of their share.
        all_ops: with brightness, colour, contrast and sharpness.
        interpolation, fill: as for RandomRotation.
    """

    def __init__(
        self,
        severity: int = 3,
        mixture_width: int = 3,
        chain_depth: int = -1,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        fill: int | Sequence[int] | None = None,
    ):
        super().__init__(interpolation, fill)
        self.severity = check_integer("severity", severity, 1, STRONGEST)
        self.chains = check_integer("mixture_width", mixture_width, 1, MOST)
        self.depth = check_integer("chain_depth", chain_depth, -1, MOST)
        self.alpha = check_number("alpha", alpha, *ALPHA)
        if not isinstance(all_ops, bool):
            raise ValueError(f"all_ops must be true or false, and is {all_ops!r}")
        self.names = [name for name in NAMES if name != "Identity" and (all_ops or name not in FACTORS)]

    def table(self, resolution: int) -> np.ndarray:
        """(operations, signs, magnitudes, WIDTH)."""
        return np.stack([SPACE.steps(name, STRONGEST, resolution) for name in self.names])

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        longest = self.depth if self.depth > 0 else RANDOM_DEPTH
        shape = len(draw.ids), self.chains, longest
        u = draw.uniforms(2 + 2 * self.chains + 3 * self.chains * longest)
        shares, weights, depths, steps = np.split(u, [2, 2 + self.chains, 2 + 2 * self.chains], axis=1)
        which, magnitude, turned = steps.reshape(*shape, 3).transpose(3, 0, 1, 2)
        chosen = self.choices(resolution)[
            (which * len(self.names)).astype(int),
            (turned <= 0.5).astype(int),
            (magnitude * self.severity).astype(int),
        ]
        if self.depth <= 0:
            chosen[np.arange(longest) > (depths * longest).astype(int)[..., None]] = 0  # NOTHING
        values = self.values(chosen.reshape(shape[0], self.chains * longest, WIDTH))
        share = dirichlet(self.alpha, shares)
        weights = fixed(np.hstack([share[:, :1], share[:, 1:] * dirichlet(self.alpha, weights)]))
        weights[np.arange(len(weights)), weights.argmax(axis=1)] += UNIT - weights.sum(axis=1)  # what rounding left
        return np.hstack([values[:, :HEAD], weights, values[:, HEAD:]])

    def kernel(self, images: np.ndarray, values: np.ndarray) -> None:
        _mix(images, values, self.chains)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        head, weights, steps = values[:HEAD], values[HEAD : HEAD + 1 + self.chains], values[HEAD + 1 + self.chains :]
        total = image.int() * weights[0]
        per_chain = len(steps) // self.chains
        for chain, weight in enumerate(weights[1:]):
            changed = super().function(image, [*head, *steps[chain * per_chain : (chain + 1) * per_chain]])
            total += changed.int() * weight
        return (total >> PRECISION).byte()


def dirichlet(alpha: float, uniform: np.ndarray) -> np.ndarray:
    """(B, n) numbers of the symmetric Dirichlet distribution, of uniform ones."""
    from scipy.special import gammaincinv, gammaln  # here, because it takes 0.1 s and most lists do not need it

    uniform = np.maximum(uniform, 2.0**-33)
    # Shares of numbers of a Gamma distribution. With a small alpha these are too small for floats: their logarithms,
    # of P(alpha, x) = x^alpha / Gamma(alpha + 1) for small x, are not.
    gamma = gammaincinv(alpha, uniform)
    small = (np.log(uniform) + gammaln(alpha + 1)) / alpha
    logarithm = np.where(gamma > np.finfo(float).tiny, np.log(np.maximum(gamma, np.finfo(float).tiny)), small)
    share = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    return share / share.sum(axis=1, keepdims=True)
