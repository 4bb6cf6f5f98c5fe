"""The compiled form of formwork.kernels.checksum_formula."""

import numpy as np

from formwork.kernels import checksum_formula as formula
from formwork.kernels.compile import inner_kernel, kernel

LANES, STRIPE = formula.LANES, formula.STRIPE
MULTIPLIER, PRIME, ODD = np.uint64(formula.MULTIPLIER), np.uint64(formula.PRIME), np.uint64(formula.ODD)
LOW, HALF = np.uint64(2**32 - 1), np.uint64(32)


@inner_kernel
def _reduce(words, state):
    """Take words (n * LANES,) uint32 into the remainders (LANES,) uint64, each of which may be PRIME too large."""
    for start in range(0, words.size, LANES):
        row = words[start : start + LANES]
        for lane in range(np.uint64(LANES)):  # no index counts from the end then: numba makes vectors of this loop
            x = state[lane]
            state[lane] = (x & LOW) * MULTIPLIER + (x >> HALF) + np.uint64(row[lane])  # below 2^64


@kernel
def checksum(data):
    state = np.zeros(LANES, np.uint64)
    whole = data.size // STRIPE * STRIPE
    _reduce(data[:whole].view(np.uint32), state)
    if whole < data.size:
        rest = np.zeros(STRIPE, np.uint8)
        for i in range(data.size - whole):
            rest[i] = data[whole + i]
        _reduce(rest.view(np.uint32), state)
    total = np.uint64(data.size)
    for lane in range(LANES):
        remainder = state[lane] - PRIME if state[lane] >= PRIME else state[lane]
        total = (total ^ remainder) * ODD
        total ^= total >> HALF
    return total
