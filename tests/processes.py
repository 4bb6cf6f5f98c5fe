"""Waiting for what other processes do, and whether they have ended that are not children of the tests."""

import time
from collections.abc import Callable, Sequence

import psutil

STEP = 0.02  # seconds between looks
TIMEOUT = 300  # seconds: what takes longer hangs, on any machine and however busy it is


def wait_for(condition: Callable[[], object], timeout: float = TIMEOUT) -> bool:
    """Whether the condition came true within so many seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(STEP)
    return True


def left(pids: Sequence[int], timeout: float = TIMEOUT) -> list[psutil.Process]:
    """Those that still run after at most `timeout` seconds.

    One that has ended and waits for its parent to ask how counts as ended. An orphan's parent is process 1, which in
    a container is often no init, and asks late or never.
    """
    wait_for(lambda: not any(map(_running, pids)), timeout)
    return list(filter(None, map(_running, pids)))


def _running(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None
