"""A case that crashes, hangs or is wrong is counted and named by its seed, and those after it run all the same."""

import os
import signal
import time

import numpy as np
import pytest

from tests.fuzz.guard import Guards
from tests.fuzz.runner import Target, report, run

pytestmark = pytest.mark.slow  # starts processes


def of_all_kinds(seed: int) -> str:
    match seed:
        case 11:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 12:
            time.sleep(60)
        case 13:
            raise AssertionError("it is wrong")
        case 14:
            os._exit(3)
    return "even" if seed % 2 == 0 else "odd"


def beyond_the_end(seed: int) -> str:
    array = Guards().array("any", 100, at_start=seed == 1)
    address = array.ctypes.data + (array.size if seed == 0 else -1)
    return str(np.ctypeslib.as_array((np.ctypeslib.ctypes.c_uint8 * 1).from_address(address))[0])


def test_each_failure_is_named_and_the_rest_is_counted() -> None:
    result = run(Target(of_all_kinds), range(10, 20), hang_seconds=3)

    assert result.outcomes == {"even": 3, "odd": 3}
    assert result.failures == {
        11: "crashes: killed by SIGSEGV",
        12: "hangs: no result after 3 s",
        13: "AssertionError: it is wrong",
        14: "crashes: exit status 3",
    }
    text = report("images", result)
    assert "images: 10 inputs in" in text
    assert 'FAILURE: AssertionError: it is wrong. Repeat it: make fuzz ARGS="images --count 1 --seed 13"' in text


def test_an_access_beyond_guarded_memory_is_a_crash() -> None:
    """Behind its end, and before its start."""
    result = run(Target(beyond_the_end), range(2))

    assert set(result.failures.values()) == {"crashes: killed by SIGSEGV"}
    assert result.count == 2


def test_no_case_begins_after_the_time_is_up() -> None:
    assert run(Target(of_all_kinds), range(100), seconds=0).count == 0
