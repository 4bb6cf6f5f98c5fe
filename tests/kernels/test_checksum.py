"""The compiled checksum is its formula, and no small change of the data leaves it as it was."""

import numpy as np
import pytest

from formwork.kernels import checksum_formula as formula
from formwork.kernels.checksum import checksum
from formwork.kernels.compile import is_plain

SIZES = (0, 1, 3, 4, 5, 192, 255, 256, 257, 511, 1000, 4096, 10_000)


def data(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def of(content: np.ndarray) -> int:
    content = content.copy()
    content.flags.writeable = False
    return checksum(content)


@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_is_the_formula(size: int) -> None:
    assert not is_plain()
    for content in (data(size), np.zeros(size, np.uint8), np.full(size, 255, np.uint8)):
        assert of(content) == formula.checksum(content)
        unaligned = np.concatenate([data(3), content])[3:]
        unaligned.flags.writeable = False
        assert checksum(unaligned) == of(content)


def test_the_formula_is_a_remainder_of_each_lane() -> None:
    """Written out, with the words as a number each."""
    content = data(2 * formula.STRIPE + 10)
    words = np.append(content, np.zeros(-len(content) % formula.STRIPE, np.uint8)).view("<u4").tolist()
    columns = [words[lane :: formula.LANES] for lane in range(formula.LANES)]
    numbers = [sum(word << (32 * i) for i, word in enumerate(column)) for column in columns]
    remainders = [number * pow(2, -32 * 2, formula.PRIME) % formula.PRIME for number in numbers]
    totals = [mixed([len(content), (i + 1) * formula.ODD % 2**64, *remainders[i::8]]) for i in range(8)]
    assert formula.checksum(content) == mixed([0, *totals])


def mixed(values: list[int]) -> int:
    total = values[0]
    for value in values[1:]:
        product = (total ^ value) * formula.ODD % 2**64
        total = product ^ (product >> 32)
    return total


def test_its_number_is_a_safe_prime() -> None:
    """By Fermat's test to ten bases: what the proofs in its description rest on."""
    for number in (formula.PRIME, (formula.PRIME - 1) // 2):
        assert all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29))
    assert formula.MULTIPLIER * 2**32 % formula.PRIME == 1
    assert formula.ODD % 2 == 1


@pytest.mark.parametrize("kind", ["random", "zeros", "ones"])
def test_any_flipped_bit_changes_it(kind: str) -> None:
    for size in (1, 6, 700):
        content = {"random": data(size), "zeros": np.zeros(size, np.uint8), "ones": np.full(size, 255, np.uint8)}[kind]
        before = of(content)
        for position in range(size):
            for bit in range(8):
                content[position] ^= 1 << bit
                assert of(content) != before
                content[position] ^= 1 << bit


def test_what_is_moved_exchanged_zeroed_or_cut_changes_it() -> None:
    """Of noise, and of rows that are all alike but for one word, as where an image shows a plain wall."""
    flat = np.zeros(40_000, np.uint8)
    flat[20_000] = 1
    for content in (data(40_000), flat):
        changes = [
            np.roll(content, 1),
            np.roll(content, 256),
            np.roll(content, 4096),
            content[::-1],
            content[:-1],
            content[:-256],
            np.append(content, np.uint8(0)),
            np.append(content, np.zeros(256, np.uint8)),
            np.concatenate([content[:4096], content[8192:12288], content[4096:8192], content[12288:]]),
            np.concatenate([content[:16_384], content[20_480:24_576], content[16_384:20_480], content[24_576:]]),
            np.where(np.arange(40_000) // 4096 == 4, 0, content).astype(np.uint8),
        ]
        different = {changed.tobytes(): of(changed) for changed in [content, *changes]}
        assert len(set(different.values())) == len(different) > 8


def test_no_two_of_many_changes_have_the_same() -> None:
    """Any two flipped bits of 64 bytes, and of a few words that are far apart: 300,000 values, all different."""
    content = np.zeros(64, np.uint8)
    seen = set()
    for first in range(512):
        content[first // 8] ^= 1 << first % 8
        for second in range(first):
            content[second // 8] ^= 1 << second % 8
            seen.add(of(content))
            content[second // 8] ^= 1 << second % 8
        content[first // 8] ^= 1 << first % 8
    assert len(seen) == 512 * 511 // 2
