"""Blocks in which kernels are loaded from the disk, and none is compiled."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class NotKept(BaseException):
    """A kernel is not compiled yet. No error: what makes others of errors lets it pass."""


class _Thread(threading.local):
    kept_only = False


_thread = _Thread()


@contextmanager
def kept_only() -> Iterator[None]:
    """`with kept_only():` this thread compiles nothing.

    Raises:
        NotKept: by a call of a kernel that would have to be; what `either` gives takes the plain form then.
    """
    _thread.kept_only = True
    try:
        yield
    finally:
        _thread.kept_only = False


def is_kept_only() -> bool:
    """Whether this thread is in such a block."""
    return _thread.kept_only
