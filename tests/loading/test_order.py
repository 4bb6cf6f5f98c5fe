"""Sample order is a pure function, gives every sample once, and is shared out fairly."""

from itertools import pairwise

import numpy as np
import pytest

from formwork.errors import ParamsError
from formwork.loading.order import BLOCK, WINDOW, BatchSampler, Position, sample_order

STORAGE = np.random.default_rng(0).permutation(5000)
ORDERS = ["sequential", "random", "quasi_random"]


@pytest.mark.parametrize("order", ORDERS)
def test_every_sample_once_and_the_same_each_time(order):
    first, again = (sample_order(STORAGE, order, seed=1, epoch=4) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(np.sort(first), np.arange(5000))


@pytest.mark.parametrize("order", ["random", "quasi_random"])
def test_seed_and_epoch_change_the_order(order):
    orders = {sample_order(STORAGE, order, seed, epoch).tobytes() for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


@pytest.mark.parametrize("order", ["random", "quasi_random"])
def test_an_epoch_has_nothing_of_the_order_of_the_one_before(order):
    storage = np.random.default_rng(0).permutation(20 * BLOCK * WINDOW)
    orders = [sample_order(storage, order, seed=0, epoch=epoch) for epoch in range(4)]
    for before, after in pairwise(orders):
        followers = np.empty(len(before), np.int64)
        followers[before] = np.roll(before, -1)
        assert np.count_nonzero(followers[after[:-1]] == after[1:]) < 20  # in two random orders about one
        assert abs(np.corrcoef(np.argsort(before), np.argsort(after))[0, 1]) < 0.25


def test_quasi_random_reads_a_window_of_blocks_at_a_time():
    storage = np.random.default_rng(0).permutation(BLOCK * WINDOW * 5)
    place = np.argsort(storage)  # where each sample lies
    for window in np.split(sample_order(storage, "quasi_random", 0, 0), 5):
        assert len(np.unique(place[window] // BLOCK)) == WINDOW
        assert np.any(np.diff(place[window]) != 1)


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_same_global_batches(world_size, drop_last):
    storage = np.arange(103)
    whole = list(BatchSampler(storage, "random", 0, 16, drop_last))
    ranks = [list(BatchSampler(storage, "random", 0, 16, drop_last, r, world_size)) for r in range(world_size)]
    assert len(whole) == (6 if drop_last else 7)
    for number, (epoch, ids, _) in enumerate(whole):
        shares = [rank[number].draws for rank in ranks if number < len(rank)]
        assert np.array_equal(np.concatenate(shares), ids)
        assert epoch == 0
    for number, rank in enumerate(ranks):
        assert len(BatchSampler(storage, "random", 0, 16, drop_last, number, world_size)) == len(rank)


def test_epochs_follow_each_other_unless_set():
    sampler = BatchSampler(np.arange(10), "random", 0, 5, drop_last=False)
    assert [next(iter(sampler))[0] for _ in range(3)] == [0, 1, 2]
    sampler.set_epoch(7)
    assert [next(iter(sampler))[0] for _ in range(2)] == [7, 8]


def test_refuses_what_cannot_be_shared_or_filled():
    with pytest.raises(ParamsError, match=r"data\.batch_size 10 cannot be shared equally by 4 devices"):
        BatchSampler(np.arange(100), "random", 0, 10, drop_last=True, rank=0, world_size=4)
    with pytest.raises(ParamsError, match=r"data\.batch_size is 64 and the train split has 10 images"):
        BatchSampler(np.arange(10), "random", 0, 64, drop_last=True)


def test_the_rest_of_an_epoch_from_any_batch():
    whole = list(BatchSampler(STORAGE, "quasi_random", 5, 64, drop_last=False))
    for done in (0, 1, len(whole) - 1, len(whole)):
        sampler = BatchSampler(STORAGE, "quasi_random", 5, 64, drop_last=False)
        sampler.next = Position(0, done)
        sampler.set_epoch(0)
        assert [batch.draws.tolist() for batch in sampler] == [batch.draws.tolist() for batch in whole[done:]]
        assert sampler.next == Position(1, 0)


@pytest.mark.parametrize("rest", range(1, 8))
def test_ranks_without_a_sample_have_the_last_batch_too(rest):
    ranks = [list(BatchSampler(np.arange(16 + rest), "random", 0, 8, False, rank, 4)) for rank in range(4)]
    assert {len(batches) for batches in ranks} == {3}
    assert sum(len(batches[-1].draws) for batches in ranks) == rest


@pytest.mark.parametrize("order", ["random", "quasi_random"])
def test_batches_have_the_class_mix_of_random_ones(order):
    # Stored in a hashed order, as betons of ours are: a chi-squared statistic for the classes of each batch.
    classes, batch, count = 10, 100, 20_000
    labels = np.arange(count) * classes // count
    storage = np.random.default_rng(1).permutation(count)
    expected = batch / classes
    statistics = [
        np.sum((np.bincount(labels[ids], minlength=classes) - expected) ** 2 / expected)
        for epoch in range(5)
        for ids in np.split(sample_order(storage, order, 0, epoch), count // batch)
    ]
    # The mean of 1,000 values of chi-squared with 9 degrees of freedom is 9, give or take sqrt(18 / 1000).
    assert np.mean(statistics) == pytest.approx(classes - 1, abs=4 * np.sqrt(2 * (classes - 1) / len(statistics)))
