"""Which samples make up which batch: a pure function of the dataset, the seed and the epoch."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from formwork.errors import ParamsError
from formwork.loading.random_numbers import generator

BLOCK = 64  # samples that quasi_random keeps together
WINDOW = 16  # blocks that quasi_random mixes with each other
REPEAT = 1 << 32  # in a draw, stands for one time that its sample came before in the epoch


class Groups(NamedTuple):
    """Samples by class: those of group g are members[starts[g] : starts[g + 1]], and none is empty.

    Attributes:
        members: (M,) int64 sample ids. starts: (G + 1,) int64.
    """

    members: np.ndarray
    starts: np.ndarray


def groups_of(labels: np.ndarray, samples: np.ndarray) -> Groups:
    """The groups of (M,) pairs of a label and a sample."""
    order = np.argsort(labels, kind="stable")
    return Groups(samples[order], np.append(np.unique(labels[order], return_index=True)[1], len(labels)))


def sample_order(
    storage_order: np.ndarray, order: str, seed: int, epoch: int, groups: Groups | None = None
) -> np.ndarray:
    """The draws of one epoch: which samples it shows, one after the other.

    Args:
        storage_order: (N,) int64 sample ids as they lie in the beton; a property of the manifest, so the order is the
            same for every loader and every way of storing.
        order: `sequential`: by sample id. `random`: a permutation. `quasi_random`: blocks of neighbours in storage
            order, in random order, mixed within a window of blocks: nearly as good, and each part of the file is read
            once, in large pieces.

    Returns:
        (N,) int64, each sample id once.
    """
    count = len(storage_order)
    if order == "sequential":
        return np.arange(count)
    rng = generator(seed, epoch, "order")
    if order == "random":
        return rng.permutation(count)
    if order == "class_balanced":
        assert groups is not None
        return number_repeats(rng.permutation(_balanced(groups, count, rng)))
    blocks = [storage_order[i : i + BLOCK] for i in range(0, count, BLOCK)]
    shuffled = [blocks[i] for i in rng.permutation(len(blocks))]
    windows = [np.concatenate(shuffled[i : i + WINDOW]) for i in range(0, len(shuffled), WINDOW)]
    return np.concatenate([rng.permutation(window) for window in windows])


def _balanced(groups: Groups, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) int64 sample ids, group by group."""
    sizes = np.diff(groups.starts)
    shares = np.full(len(sizes), count // len(sizes))
    shares[rng.permutation(len(sizes))[: count % len(sizes)]] += 1
    parts = []
    for start, size, share in zip(groups.starts.tolist(), sizes.tolist(), shares.tolist(), strict=False):
        members = groups.members[start : start + size]
        parts += [np.tile(members, share // size), rng.permutation(members)[: share % size]]
    return np.concatenate(parts)


def number_repeats(ids: np.ndarray) -> np.ndarray:
    """The draws of (N,) sample ids, see sample_order."""
    order = np.argsort(ids, kind="stable")
    ordered, places = ids[order], np.arange(len(ids))
    first = np.append(True, ordered[1:] != ordered[:-1])
    draws = np.empty(len(ids), np.int64)
    draws[order] = ordered + REPEAT * (places - np.maximum.accumulate(np.where(first, places, 0)))
    return draws


def samples_of(draws: np.ndarray) -> np.ndarray:
    """Sample ids of draws, see sample_order."""
    return draws & (REPEAT - 1)


@dataclass(frozen=True)
class Position:
    """A place in a run: so many global batches of an epoch are done."""

    epoch: int
    batches: int


class Indices(NamedTuple):
    """One batch of one rank.

    Attributes:
        draws: (B,) int64, see sample_order.
        partners: (B,) int64, the draw that each may be mixed with: its neighbour in the order of the epoch, the first
            with the second, the third with the fourth; itself, where it has none.
    """

    epoch: int
    draws: np.ndarray
    partners: np.ndarray


class BatchSampler:
    """The batches of one rank, epoch after epoch.

    A global batch is batch_size samples in sample order; rank r of W takes the r-th of W equal parts of it, so that
    the global batches are the same for every W. Every rank has as many batches, the last of them perhaps without a
    sample, because processes that train together wait for each other.

    Args:
        drop_last: leave out the last global batch of an epoch when it is not full.
        groups: of the samples, for the order `class_balanced`.

    Raises:
        ParamsError: batch_size is no multiple of world_size, or larger than the split where drop_last leaves nothing.
    """

    def __init__(
        self,
        storage_order: np.ndarray,
        order: str,
        seed: int,
        batch_size: int,
        drop_last: bool,
        rank: int = 0,
        world_size: int = 1,
        groups: Groups | None = None,
    ):
        count = len(storage_order)
        if batch_size % world_size:
            raise ParamsError(
                f"data.batch_size {batch_size} cannot be shared equally by {world_size} devices: use a multiple."
            )
        if drop_last and batch_size > count:
            raise ParamsError(
                f"data.batch_size is {batch_size} and the train split has {count} images: use {count} or less."
            )
        self.storage_order = storage_order
        self.order = order
        self.groups = groups
        self.seed = seed
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.stop = count // batch_size * batch_size if drop_last else count
        self.next = Position(0, 0)

    @property
    def window(self) -> float:
        """How many global batches show samples that are stored as blocks of neighbours, and then others; 0 where none
        do."""
        return BLOCK * WINDOW / self.batch_size if self.order == "quasi_random" else 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration gives; without it, each iteration gives the one after the last.

        The place within the epoch that a run is to go on from stays, if it is in this epoch.
        """
        if epoch != self.next.epoch:
            self.next = Position(epoch, 0)

    def __len__(self) -> int:
        return (self.stop + self.batch_size - 1) // self.batch_size

    def __iter__(self) -> Iterator[Indices]:
        """The batches from self.next on."""
        yield from self.batches_from(self.begin())  # when the first is asked for: PyTorch's DataLoader iterates twice

    def begin(self) -> Position:
        """Where the iteration that begins now starts."""
        position, self.next = self.next, Position(self.next.epoch + 1, 0)
        return position

    def batches_from(self, position: Position) -> Iterator[Indices]:
        """The batches of an epoch from this one on."""
        order = sample_order(self.storage_order, self.order, self.seed, position.epoch, self.groups)
        share = self.batch_size // self.world_size
        for batch in range(position.batches * self.batch_size, self.stop, self.batch_size):
            start = batch + share * self.rank
            places = np.arange(start, min(start + share, self.stop))
            yield Indices(position.epoch, order[places], order[np.minimum(places ^ 1, len(order) - 1)])

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a Position to mean the same batch: everything but the number of ranks."""
        return {
            "order": self.order,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "samples": len(self.storage_order),
            "of_them": self.stop,
            "storage_order": zlib.crc32(self.storage_order.tobytes()),
            "groups": self.groups and [zlib.crc32(part.tobytes()) for part in self.groups],
        }
