"""Reading ahead: the system is asked for what the next batches need before they need it, in the order of the file.

A disk is fast where it has many requests to choose from, and where they lie one behind the other. Workers that read
each sample when they need it give it one request each. So batches are asked for in groups, each while the group before
it is used.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Event
from types import TracebackType
from typing import NamedTuple, TypeVar

import numpy as np

from formwork.loading.beton_reader import BetonReader

AHEAD = 1 << 25  # bytes of a group from which on no batch is added; of two, all or some is in the page cache for it
PAGE = 1 << 12  # bytes
LOOKED_AT = 16  # ranges of a group: where all are in the page cache, the others are taken to be there, too
POLL = 0.05  # seconds between looks at whether the consumer has left
Item = TypeVar("Item")


class Ranges(NamedTuple):
    """Parts of files, in their order: (N,) int64 each, bytes starts <= i < stops of a file; whole pages."""

    files: np.ndarray
    starts: np.ndarray
    stops: np.ndarray


NOTHING = Ranges(*[np.empty(0, np.int64)] * 3)


class Group:
    """What `batches` batches need. They are complete one after the other; `ranges` are needed until all are."""

    def __init__(self, ranges: Ranges, batches: int):
        self.ranges = ranges
        self.left = batches


class ReadAhead:
    """`with ReadAhead(...) as ahead:` reading ahead during an epoch, in threads that end with it. The beton is read
    into memory meanwhile, if it is to be held. Used by one thread.

    Args:
        window: how many batches make up a window, whose samples lie in blocks of neighbours; a group is of whole
            windows then, as far as they fit. 0 where samples have no neighbours.
    """

    def __init__(self, source: BetonReader, window: float):
        self.source = source
        self.window = window
        self.threads = ThreadPoolExecutor(2, thread_name_prefix="FFCVDataLoader reads")
        self.ended = Event()
        self.running: list[Future] = []
        self.groups: list[Group] = []  # that are not complete

    def __enter__(self) -> "ReadAhead":
        if self.source.held and self.source.whole is None:
            self._run(self.source.hold, self.ended)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ended.set()
        for group in self.groups:
            self._forget(group)
        self.threads.shutdown()

    def batches(
        self, items: Iterator[Item], ids_of: Callable[[Item], np.ndarray], first: int
    ) -> Iterator[tuple[Item, Callable[[], None]]]:
        """Each item, which stands for a batch, once what it needs was asked for; and what is to be called when the
        batch is complete.

        Args:
            ids_of: the samples that the batch of an item needs.
            first: the place of the first batch in the epoch.

        Raises:
            BetonError: while something was read ahead, as BetonReader.hold.
        """
        for group, members in one_ahead(self._groups(items, ids_of, first)):
            for item in members:
                yield item, partial(self._complete, group)

    def finish(self, stopped: Event) -> None:
        """Wait until all that was to be held is, or until `stopped`. Raises BetonError: see BetonReader.hold."""
        while self.running and not stopped.is_set():
            wait(self.running, POLL)
            self._check()

    def _groups(
        self, items: Iterator[Item], ids_of: Callable[[Item], np.ndarray], place: int
    ) -> Iterator[tuple[Group, list[Item]]]:
        """Groups that were asked for, each of twice as much as the one before it: the first is soon there."""
        members: list[Item] = []
        needed: list[np.ndarray] = []
        size, enough = 0, 1
        sizes = self.source.beton.sizes
        for item in items:
            members.append(item)
            place += 1
            if self.source.reads_files:
                needed.append(ids_of(item))
                size += int(sizes[needed[-1]].sum())
            crossing = self.window and place // self.window > (place - 1) // self.window
            if size >= enough or (crossing and 2 * size >= enough) or not self.source.reads_files:
                yield self._asked_for(needed, len(members)), members
                enough = min(2 * max(size, enough), AHEAD)
                members, needed, size = [], [], 0
        if members:
            yield self._asked_for(needed, len(members)), members

    def _asked_for(self, needed: list[np.ndarray], batches: int) -> Group:
        group = Group(self._ranges(np.concatenate(needed)) if needed else NOTHING, batches)
        if len(group.ranges.files):
            self.groups.append(group)
            self._run(self._ask_for, group.ranges)
        return group

    def _ranges(self, ids: np.ndarray) -> Ranges:
        source = self.source
        beton, first = source.beton, source.starts
        file = beton.file[ids]
        starts = beton.offsets[ids] // PAGE * PAGE
        stops = -(-(beton.offsets[ids] + beton.sizes[ids] + source.verification.of(ids).padding) // PAGE) * PAGE
        order = np.argsort(starts + first[file])
        file, starts, stops = file[order], starts[order], stops[order]
        new = np.append(True, (file[1:] != file[:-1]) | (starts[1:] > stops[:-1]))[: len(ids)]
        begin = np.flatnonzero(new)
        return Ranges(file[begin], starts[begin], np.maximum.reduceat(stops, begin) if len(begin) else stops)

    def _ask_for(self, ranges: Ranges) -> None:
        every = range(0, len(ranges.files), -(-len(ranges.files) // LOOKED_AT))
        if all(self.source.is_cached(int(ranges.files[i]), int(ranges.starts[i])) for i in every):
            return
        for file, start, stop in zip(*(column.tolist() for column in ranges), strict=True):
            self.source.ask_for(file, start, stop, self.ended)

    def _complete(self, group: Group) -> None:
        group.left -= 1
        if not group.left and group in self.groups:
            self.groups.remove(group)
            self._forget(group)
        self._check()

    def _forget(self, group: Group) -> None:
        if self.source.keep:
            return
        self._run(self._take_out, group.ranges)

    def _take_out(self, ranges: Ranges) -> None:
        for file, start, stop in zip(*(column.tolist() for column in ranges), strict=True):
            self.source.forget(file, start, stop)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        self.running.append(self.threads.submit(work, *arguments))

    def _check(self) -> None:
        """Raise what was raised in a thread."""
        for future in [future for future in self.running if future.done()]:
            self.running.remove(future)
            future.result()


def one_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each yielded after the next one has been taken from the iterator."""
    previous: list[Item] = []
    for item in items:
        yield from previous
        previous = [item]
    yield from previous
