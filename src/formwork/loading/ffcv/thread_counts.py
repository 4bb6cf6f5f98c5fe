"""Thread counts are the user's. FFCV sets torch's and numba's for the whole process, when it is imported and after."""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch


@contextmanager
def thread_counts_kept() -> Iterator[None]:
    """Put the thread counts back after a block that uses FFCV."""
    of_torch, of_numba = torch.get_num_threads(), numba.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(of_torch)
        numba.set_num_threads(of_numba)
