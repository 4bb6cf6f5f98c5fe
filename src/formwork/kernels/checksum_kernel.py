"""The compiled form of formwork.kernels.checksum_formula."""

import numpy as np

from formwork.kernels import checksum_formula as formula
from formwork.kernels.compile import inner_kernel, kernel

LANES, STRIPE, TOTALS = formula.LANES, formula.STRIPE, formula.TOTALS
MULTIPLIER, PRIME, ODD = np.uint64(formula.MULTIPLIER), np.uint64(formula.PRIME), np.uint64(formula.ODD)
STARTS = np.array(formula.STARTS, np.uint64)
LOW, HALF = np.uint64(2**32 - 1), np.uint64(32)


@kernel
def checksum(data):
    return checksum_with(new_memory(), data)


@inner_kernel
def new_memory():
    """Memory for checksum_with, which one thread uses again and again: small samples take no longer to compare."""
    return np.empty(LANES, np.uint64), np.empty(TOTALS, np.uint64), np.empty(STRIPE, np.uint8)


@inner_kernel
def checksum_with(memory, data):
    remainders, totals, rest = memory
    remainders[:] = np.uint64(0)
    whole = data.size // STRIPE * STRIPE
    _reduce(data[:whole].view(np.uint32), remainders)
    if whole < data.size:
        rest[:] = np.uint8(0)
        for i in range(np.uint64(data.size - whole)):
            rest[i] = data[np.uint64(whole) + i]
        _reduce(rest.view(np.uint32), remainders)
    for i in range(TOTALS):
        totals[i] = _mixed(np.uint64(data.size), STARTS[i])
    for start in range(0, LANES, TOTALS):
        for i in range(np.uint64(TOTALS)):
            remainder = remainders[np.uint64(start) + i]
            totals[i] = _mixed(totals[i], remainder - PRIME if remainder >= PRIME else remainder)
    result = np.uint64(0)
    for i in range(TOTALS):
        result = _mixed(result, totals[i])
    return result


@inner_kernel
def _reduce(words, remainders):
    """Take words (n * LANES,) uint32 into the remainders (LANES,) uint64, each of which may be PRIME too large."""
    for start in range(0, words.size, LANES):
        row = words[start : start + LANES]
        for lane in range(np.uint64(LANES)):  # no index counts from the end then: numba makes vectors of this loop
            x = remainders[lane]
            remainders[lane] = (x & LOW) * MULTIPLIER + (x >> HALF) + np.uint64(row[lane])  # below 2^64


@inner_kernel
def _mixed(x, y):
    z = (x ^ y) * ODD
    return z ^ (z >> HALF)
