"""Work on threads, bounded and in order."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from formwork.parallel import in_order


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ahead", [1, 2, 50])
def test_results_come_in_order_and_items_are_taken_as_there_is_room(workers: int, ahead: int) -> None:
    taken = 0

    def items():
        nonlocal taken
        for number in range(30):
            taken += 1
            yield number

    def work(number: int) -> int:
        time.sleep(0.001 * (number % 3))
        return number**2

    with ThreadPoolExecutor(workers) as pool:
        for done, (item, result) in enumerate(in_order(pool, work, items(), ahead)):
            assert (item, result) == (done, done**2)
            assert taken <= done + 1 + ahead


def test_what_is_in_work_needs_no_more_than_the_budget_but_for_the_items_that_always_are() -> None:
    costs = [1, 5, 2, 9, 1, 1, 1, 4, 20, 1, 1]
    lock, running, most = threading.Lock(), [], []

    def work(number: int) -> None:
        with lock:
            running.append(costs[number])
            most.append((len(running), sum(running)))
        time.sleep(0.002)
        with lock:
            running.remove(costs[number])

    with ThreadPoolExecutor(4) as pool:
        list(in_order(pool, work, range(len(costs)), 50, costs.__getitem__, budget=6, always=1))

    assert all(total <= 6 or count == 1 for count, total in most)
    assert any(count > 1 for count, _ in most)


def test_an_error_is_raised_in_its_turn() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = in_order(pool, lambda number: 6 // (3 - number), range(10), 5)
        assert [next(results) for _ in range(3)] == [(0, 2), (1, 3), (2, 6)]
        with pytest.raises(ZeroDivisionError):
            next(results)
