"""Limits of the system, for a while."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def file_size(most: int) -> Iterator[None]:
    """No file of this process, and of those that it starts, can grow beyond so many bytes: writing fails where it would
    on a full disk, also for root."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
