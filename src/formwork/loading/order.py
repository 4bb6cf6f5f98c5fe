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


def sample_order(storage_order: np.ndarray, order: str, seed: int, epoch: int) -> np.ndarray:
    """The sample ids of one epoch.

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
    blocks = [storage_order[i : i + BLOCK] for i in range(0, count, BLOCK)]
    shuffled = [blocks[i] for i in rng.permutation(len(blocks))]
    windows = [np.concatenate(shuffled[i : i + WINDOW]) for i in range(0, len(shuffled), WINDOW)]
    return np.concatenate([rng.permutation(window) for window in windows])


@dataclass(frozen=True)
class Position:
    """A place in a run: so many global batches of an epoch are done."""

    epoch: int
    batches: int


class Indices(NamedTuple):
    """One batch of one rank.

    Attributes:
        ids: (B,) int64 sample ids. partners: (B,) int64, the sample that each may be mixed with: its neighbour in the
            order of the epoch, the first with the second, the third with the fourth; itself, where it has none.
    """

    epoch: int
    ids: np.ndarray
    partners: np.ndarray


class BatchSampler:
    """The batches of one rank, epoch after epoch.

    A global batch is batch_size samples in sample order; rank r of W takes the r-th of W equal parts of it, so that
    the global batches are the same for every W. Every rank has as many batches, the last of them perhaps without a
    sample, because processes that train together wait for each other.

    Args:
        drop_last: leave out the last global batch of an epoch when it is not full; otherwise every sample comes once.

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
        self.seed = seed
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.stop = count // batch_size * batch_size if drop_last else count
        self.next = Position(0, 0)

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
        order = sample_order(self.storage_order, self.order, self.seed, position.epoch)
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
        }
