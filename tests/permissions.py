"""File permissions that also hold when the tests run as root."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

VERSION_3 = 0x20080522
PR_CAPBSET_DROP = 24
DAC_OVERRIDE, DAC_READ_SEARCH = 1 << 1, 1 << 2


@contextmanager
def enforced() -> Iterator[None]:
    """Root may read and write any file: give that up in this thread, and in those that it starts, for a while."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("run as root, whom permissions do not hold")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same for capabilities from 32 on
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~(DAC_OVERRIDE | DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0


def give_up() -> None:
    """The same for good in a process that is about to run a program: a preexec_fn of subprocess."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    for number in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: root's programs get all that is not dropped here
        assert libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0
