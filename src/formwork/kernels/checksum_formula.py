"""A checksum at the speed of memory, by which a loader knows that a sample is as it was written.

The bytes, with zeros added up to whole stripes, are dealt out word by word to LANES columns, each read as one large
number. The remainders of these numbers by PRIME are mixed into 64 bits, first every eighth of them into one of eight
totals, then these into one. With w_0 ... w_n-1 the 32-bit words of a lane, everything little-endian:

    remainder(lane) = (w_0 + w_1 * 2^32 + ... + w_n-1 * 2^(32 * (n - 1))) * MULTIPLIER^(n - 1)  modulo PRIME
    mixed(x, y)     = z xor (z >> 32)  where z = (x xor y) * ODD  modulo 2^64
    start(i)        = mixed(bytes, (i + 1) * ODD)
    total(i)        = mixed(... mixed(mixed(start(i), remainder(i)), remainder(i + 8)) ..., remainder(i + LANES - 8))
    checksum        = mixed(... mixed(mixed(0, total(0)), total(1)) ..., total(7))

What it finds:

    any change of one word      always: PRIME divides no difference of two words times a power of 2, so one remainder
                                changes, and each step of the mixing is one-to-one
    any two bits of one lane    always: no power of 2 up to the 2^62-th is 1 or -1 modulo PRIME
    any other change            but for one in 2^63: bits of several lanes, blocks that are zeroed, moved or exchanged

A word takes one multiplication: PRIME is MULTIPLIER * 2^32 - 1, so that x -> low(x) * MULTIPLIER + high(x) divides by
2^32 modulo PRIME. This is a step of Montgomery's reduction (P. L. Montgomery, "Modular multiplication without trial
division", 1985), and what Marsaglia's multiply-with-carry generators are made of; PRIME is the largest of this form for
which (PRIME - 1) / 2 is prime, too. The mixing is that of MurmurHash and its kind.
"""

import numpy as np

LANES = 64
STRIPE = 4 * LANES  # bytes
TOTALS = 8
MULTIPLIER = 4_294_967_118
PRIME = MULTIPLIER * 2**32 - 1
ODD = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio
STARTS = [(i + 1) * ODD % 2**64 for i in range(TOTALS)]


def checksum(data: np.ndarray) -> int:
    """The checksum of (bytes,) uint8, contiguous and read-only: 0 <= checksum < 2^64."""
    stripes = -(-data.size // STRIPE)
    padded = np.zeros(stripes * STRIPE, np.uint8)
    padded[: data.size] = data
    factor = pow(MULTIPLIER, stripes - 1, PRIME)
    totals = [_mixed(data.size, start) for start in STARTS]
    for lane, words in enumerate(padded.view("<u4").reshape(stripes, LANES).T):
        remainder = int.from_bytes(words.tobytes(), "little") * factor % PRIME
        totals[lane % TOTALS] = _mixed(totals[lane % TOTALS], remainder)
    result = 0
    for total in totals:
        result = _mixed(result, total)
    return result


def _mixed(x: int, y: int) -> int:
    z = (x ^ y) * ODD % 2**64
    return z ^ z >> 32
