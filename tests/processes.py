"""Whether processes have ended that are not children of the tests."""

import time
from collections.abc import Sequence

import psutil

STEP = 0.05  # seconds between looks


def left(pids: Sequence[int], timeout: float) -> list[psutil.Process]:
    """Those that still run after at most `timeout` seconds.

    One that has ended and waits for its parent to ask how counts as ended. An orphan's parent is process 1, which in
    a container is often no init, and asks late or never.
    """
    deadline = time.monotonic() + timeout
    while (running := list(filter(None, map(_running, pids)))) and time.monotonic() < deadline:
        time.sleep(STEP)
    return running


def _running(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None
