"""Pixel operations that add noise to each value by itself: GaussianNoise and PoissonNoise.

What a value becomes is drawn from the 256 chances of what it can become, which are calculated once, in units of
1 / 65536. Both forms look the same random bits up in the same table, by the alias method: M. D. Vose, "A linear
algorithm for generating random numbers with a given distribution", IEEE Transactions on Software Engineering, 1991.
"""

from collections.abc import Sequence

import numpy as np
import torch

from formwork.kernels.compile import kernel
from formwork.loading.augmentation.base import Draw, PixelOperation, check_number, check_probability
from formwork.loading.random_numbers import philox, philox_in_lanes

LEVELS = 256
LANES = 64  # counters of random numbers at once
HALVES = 8  # random numbers of 16 bits of one counter
AT_ONCE = LANES * HALVES  # values
LARGEST_SIGMA, LARGEST_MEAN = 100, 10  # of the range from black to white
FEWEST_PHOTONS, MOST_PHOTONS = 0.01, 1e6


@kernel
def _add_noise(images, values, table):
    c0, c1 = np.empty(LANES, np.uint32), np.empty(LANES, np.uint32)
    c2, c3 = np.empty(LANES, np.uint32), np.empty(LANES, np.uint32)
    for i in range(len(images)):
        if not values[i, 0]:
            continue
        pixels = images[i].reshape(images[i].size)
        for start in range(0, len(pixels), AT_ONCE):
            for k in range(LANES):
                c0[k], c1[k], c2[k], c3[k] = start // HALVES + k, values[i, 1], values[i, 2], 0
            philox_in_lanes(c0, c1, c2, c3, values[i, 3], values[i, 4])
            for half in range(HALVES):
                first = min(start + half * LANES, len(pixels))
                part = pixels[first : first + LANES]
                words = (c0, c1, c2, c3)[half // 2]
                shift = np.uint32(16 * (half % 2))
                for k in range(np.uint64(len(part))):
                    bits = np.uint32(words[k] >> shift)
                    column, rest = (bits >> np.uint32(8)) & np.uint32(255), bits & np.uint32(255)
                    entry = np.uint32(table[np.uint64((np.uint32(part[k]) << np.uint32(8)) | column)])
                    part[k] = column if rest < entry >> np.uint32(8) else entry & np.uint32(255)


def random_bits(count: int, values: Sequence[int]) -> np.ndarray:
    """(count,) uint16 random numbers: those that _add_noise uses for an image."""
    blocks = -(-count // AT_ONCE) * LANES
    counters = np.zeros((blocks, 4), np.uint64)
    counters[:, 0] = np.arange(blocks)
    counters[:, 1:3] = values[1:3]
    words = philox(counters, (values[3], values[4]))
    halves = np.stack([words, words >> np.uint64(16)], axis=2).astype(np.uint16)
    return halves.reshape(-1, LANES, HALVES).swapaxes(1, 2).reshape(-1)[:count]


def alias_table(cumulated: np.ndarray) -> np.ndarray:
    """What the alias method needs to draw what each level becomes.

    Args:
        cumulated: (LEVELS, LEVELS) float64, [i, j] is the chance that level i becomes at most j.

    Returns:
        (LEVELS * LEVELS,) uint16. Of 16 random bits, the upper 8 name a column of row i: its entry has, in its own
        upper 8 bits, below which number the lower 8 must be for the column itself to be taken; else the level in the
        lower 8 bits of the entry is.
    """
    # Rounding sums, and not the chances themselves, lets no error add up. Each level's chance is then shared out.
    left = np.diff(np.rint(cumulated * LEVELS**2), axis=1, prepend=0).astype(np.int64)
    own, other = np.zeros_like(left), np.tile(np.arange(LEVELS), (LEVELS, 1))
    rows = np.arange(LEVELS)
    for _ in range(LEVELS - 1):  # fill the column of the least likely level up with the most likely one
        least, most = left.argmin(axis=1), left.argmax(axis=1)
        missing = LEVELS - left[rows, least]
        own[rows, least] = np.where(missing, left[rows, least], own[rows, least])
        other[rows, least] = np.where(missing, most, other[rows, least])
        left[rows, most] -= missing
        left[rows, least] += missing
    return (own * LEVELS + other).astype(np.uint16).reshape(-1)


class _Noise(PixelOperation):
    """Noise with probability p. Values (B, 5): whether; what the random numbers of an image are drawn from.

    Args:
        cumulated: see alias_table.
    """

    def __init__(self, cumulated: np.ndarray, p: float):
        self.p = check_probability(p)
        self.table = alias_table(cumulated)

    def draw(self, draw: Draw, resolution: int) -> np.ndarray:
        noisy = draw.uniform(1)[:, :1] < self.p
        return np.hstack([noisy, draw.uniform() * 2**32]).astype(np.int64)

    def kernel(self, images: np.ndarray, values: np.ndarray) -> None:
        _add_noise(images, values, self.table)

    def function(self, image: torch.Tensor, values: Sequence[int]) -> torch.Tensor:
        if not values[0]:
            return image
        levels = image.permute(1, 2, 0).numpy()
        bits = random_bits(levels.size, values).reshape(levels.shape)
        column, rest = bits >> 8, bits & 255
        entry = self.table[(levels.astype(np.uint16) << 8) | column]
        noisy = np.where(rest < entry >> 8, column, entry & 255).astype(np.uint8)
        return torch.from_numpy(noisy).permute(2, 0, 1)


class GaussianNoise(_Noise):
    """Add normally distributed noise to each value, with probability p; torchvision's.

    Args:
        mean, sigma: of the noise, in units of the range from black to white. What is added is cut off to a whole number
            of 1 / 255, towards zero, as torchvision does.
        clip: black and white are the limits; otherwise values go on at the other end.
    """

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True, p: float = 1.0):
        check_number("mean", mean, -LARGEST_MEAN, LARGEST_MEAN)
        check_number("sigma", sigma, 0, LARGEST_SIGMA)
        if not isinstance(clip, bool):
            raise ValueError(f"clip must be true or false, and is {clip!r}")
        super().__init__((_clipped if clip else _wrapped)(255 * mean, 255 * sigma), p)


class PoissonNoise(_Noise):
    """Count photons, of which few come from dark places: the noise of light itself ("shot noise").

    A value v becomes 255 / photons * Poisson(v / 255 * photons), rounded, and at most 255. So do D. Hendrycks and
    T. Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019, with
    60, 25, 12, 5 and 3 photons as severities 1 to 5.

    Args:
        photons: how many are counted in white, on average.
    """

    def __init__(self, photons: float = 60.0, p: float = 1.0):
        from scipy.special import pdtr  # here, because it takes 0.1 s and most lists do not need it

        check_number("photons", photons, FEWEST_PHOTONS, MOST_PHOTONS)
        levels = np.arange(LEVELS)
        most = np.ceil((levels + 0.5) * photons / 255) - 1  # photons that give at most this level
        cumulated = pdtr(most[None, :], levels[:, None] * photons / 255)
        cumulated[:, -1] = 1
        super().__init__(cumulated, p)


def _at_most(noise: np.ndarray, mean: float, sigma: float) -> np.ndarray:
    """The chance that a normally distributed number, cut off towards zero, is at most `noise`, whole numbers."""
    from scipy.special import ndtr  # as above

    ends = noise + (noise >= 0)
    return ndtr((ends - mean) / sigma) if sigma else (ends > mean).astype(float)


def _clipped(mean: float, sigma: float) -> np.ndarray:
    """(LEVELS, LEVELS): for alias_table."""
    levels = np.arange(LEVELS)
    cumulated = _at_most(levels[None, :] - levels[:, None], mean, sigma)
    cumulated[:, -1] = 1
    return cumulated


def _wrapped(mean: float, sigma: float) -> np.ndarray:
    """(LEVELS, LEVELS): for alias_table."""
    reach = int(abs(mean) + 10 * sigma) + 2
    noise = np.arange(-reach, reach + 1)
    chances = np.bincount(noise % LEVELS, np.diff(_at_most(noise, mean, sigma), prepend=0), minlength=LEVELS)
    cumulated = np.cumsum([np.roll(chances, level) for level in range(LEVELS)], axis=1)
    cumulated[:, -1] = 1
    return cumulated
