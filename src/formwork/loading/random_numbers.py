"""A counter-based random generator: a number depends on what it is for, not on what was drawn before it.

Philox 4x32 with 10 rounds, from J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as
easy as 1, 2, 3", SC 2011. Workers, batch sizes and restarts have no state to disagree on.
"""

from zlib import crc32

import numpy as np

from formwork.kernels.compile import either, inner_kernel, kernel

MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
ROUNDS = 10
LOW = np.uint64(0xFFFFFFFF)
HIGH = np.uint64(32)


@kernel
def _philox(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    out = np.empty_like(counters)
    for i in range(len(counters)):
        c0, c1, c2, c3 = counters[i, 0], counters[i, 1], counters[i, 2], counters[i, 3]
        k0, k1 = np.uint64(key[0]), np.uint64(key[1])
        for _ in range(ROUNDS):
            left, right = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
            c0, c1, c2, c3 = (right >> HIGH) ^ c1 ^ k0, right & LOW, (left >> HIGH) ^ c3 ^ k1, left & LOW
            k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = c0, c1, c2, c3
    return out


def _philox_plain(counters: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Four 32-bit words for each counter.

    Args:
        counters: (N, 4) uint64, each below 2**32.
        key: two integers below 2**32.

    Returns:
        (N, 4) uint64, each below 2**32.
    """
    c0, c1, c2, c3 = counters.T
    for round_number in range(ROUNDS):
        k0, k1 = (np.uint64((key[i] + round_number * int(WEYL[i])) & 0xFFFFFFFF) for i in range(2))
        left, right = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (right >> HIGH) ^ c1 ^ k0, right & LOW, (left >> HIGH) ^ c3 ^ k1, left & LOW
    return np.stack([c0, c1, c2, c3], axis=1)


philox = either(lambda: _philox, _philox_plain)


@inner_kernel
def philox_in_lanes(c0: np.ndarray, c1: np.ndarray, c2: np.ndarray, c3: np.ndarray, key0: int, key1: int) -> None:
    """`philox` for kernels that need many numbers: the counters, each (N,) uint32, become the words."""
    k0, k1 = np.uint64(key0), np.uint64(key1)
    for _ in range(ROUNDS):
        for i in range(np.uint64(len(c0))):  # numba makes vectors of it
            left, right = MULTIPLIERS[0] * np.uint64(c0[i]), MULTIPLIERS[1] * np.uint64(c2[i])
            first, third = (right >> HIGH) ^ c1[i] ^ k0, (left >> HIGH) ^ c3[i] ^ k1
            c0[i], c1[i], c2[i], c3[i] = first, right & LOW, third, left & LOW
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW


def words(seed: int, epoch: int, sample_ids: np.ndarray, purpose: str, block: int | np.ndarray = 0) -> np.ndarray:
    """(N, 4) uint64 random 32-bit words for (seed, epoch, sample id, purpose); `block` numbers further ones, for all
    samples or (N,) for each."""
    ids = np.asarray(sample_ids, dtype=np.uint64)
    counters = np.empty((len(ids), 4), dtype=np.uint64)
    counters[:, 0] = ids & LOW
    counters[:, 1] = ids >> HIGH
    counters[:, 2] = epoch
    counters[:, 3] = block
    return philox(counters, (seed, crc32(purpose.encode())))


def uniform(seed: int, epoch: int, sample_ids: np.ndarray, purpose: str, block: int | np.ndarray = 0) -> np.ndarray:
    """(N, 4) float64 in [0, 1), from `words`."""
    return words(seed, epoch, sample_ids, purpose, block) / 2.0**32


def generator(seed: int, epoch: int, purpose: str) -> np.random.Generator:
    """A NumPy generator for one epoch as a whole, for shuffling.

    Drawing counts the lowest 64 bits of the counter up, so the epoch is in those above: the streams of neighbouring
    epochs would otherwise be the same but for four numbers, and their orders much alike.
    """
    return np.random.Generator(np.random.Philox(key=(seed << 32) | crc32(purpose.encode()), counter=epoch << 64))
