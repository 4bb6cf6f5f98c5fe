"""The generator is Philox, and its numbers depend on nothing but what they are for."""

import numpy as np
import pytest

from formwork.loading.random_numbers import philox, uniform


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # known answers of the authors' own implementation, Random123, kat_vectors, "philox4x32 10"
        ([0, 0, 0, 0], (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_known_answers(counter, key, expected):
    assert philox(np.array([counter], dtype=np.uint64), key).tolist() == [expected]


def test_a_sample_draws_the_same_in_any_batch():
    together = uniform(1, 2, np.arange(100), "Flip")
    alone = np.concatenate([uniform(1, 2, np.array([i]), "Flip") for i in range(100)])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("other", [(2, 2, "Flip", 0), (1, 3, "Flip", 0), (1, 2, "Crop", 0), (1, 2, "Flip", 1)])
def test_seed_epoch_purpose_and_block_each_change_every_draw(other):
    seed, epoch, purpose, block = other
    ids = np.arange(100)
    assert not np.any(uniform(1, 2, ids, "Flip") == uniform(seed, epoch, ids, purpose, block))


def test_draws_are_uniform():
    draws = uniform(0, 0, np.arange(50_000), "x").ravel()
    counts, _ = np.histogram(draws, bins=20, range=(0, 1))
    expected = draws.size / 20
    # Chi-squared with 19 degrees of freedom: above 43.8 once in a thousand fair generators. This one is fixed.
    assert ((counts - expected) ** 2 / expected).sum() < 43.8
