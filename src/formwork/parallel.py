"""Work on threads, processes or machines, with its results in order and a bound on what is in work at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


THREADS = "FORMWORK_TASK_THREADS"  # environment variable of a process that runs tasks on a worker


class TaskKilled(BrokenExecutor):
    """A task has taken every process with it that it was given to; the message says which, without a period."""


def threads_of_task() -> int | None:
    """Number of threads that the task of this process may use, on a worker of a cluster; None elsewhere."""
    threads = os.environ.get(THREADS)
    return int(threads) if threads else None


def in_order(
    pool: Executor,
    work: Callable[[Item], Result],
    items: Iterable[Item],
    ahead: int,
    cost: Callable[[Item], int] | None = None,
    budget: int = 0,
    always: int = 1,
) -> Iterator[tuple[Item, Result]]:
    """Each item with work(item), in the order of the items, which are taken one by one as there is room for them.

    Args:
        ahead: how many items may be in work, or done and waiting for those before them.
        cost: what an item needs, e.g. bytes of memory. Together those in work need at most `budget`, except that
            `always` of them are in work whatever they need.
    """
    waiting: deque[tuple[Item, int, Future[Result]]] = deque()
    total = 0
    for item in items:
        need = cost(item) if cost else 0
        while len(waiting) >= always and (len(waiting) >= ahead or total + need > budget):
            first, freed, future = waiting.popleft()
            total -= freed
            yield first, future.result()
        waiting.append((item, need, pool.submit(work, item)))
        total += need
    while waiting:
        first, _, future = waiting.popleft()
        yield first, future.result()
