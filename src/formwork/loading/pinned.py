"""Pinned memory: pages that stay where they are, so that a GPU copies them by itself while the CPU goes on."""

import threading
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

ADVICE = (
    "Lower data.batch_size or ffcv.batches_ahead, or allow more (`ulimit -l unlimited`; a container: `--ulimit "
    "memlock=-1` and more memory)."
)
T = TypeVar("T")


class _Refusal:
    """The system gives no more pinned memory: it is not asked again, for each attempt takes long."""

    def __init__(self) -> None:
        self.said = False
        self.lock = threading.Lock()

    def unless(self, allocate: Callable[[], T]) -> T | None:
        """What `allocate` gives; None, after one warning in a process, where it is refused."""
        if self.said:
            return None
        try:
            return allocate()
        except RuntimeError as error:  # torch's for all that CUDA reports
            with self.lock:
                first, self.said = not self.said, True
            if first:
                reason = str(error).strip().splitlines()[0]
                warnings.warn(
                    f"No more memory can be pinned ({reason}), so that the training waits while batches are copied "
                    f"to the GPU. {ADVICE}",
                    stacklevel=2,
                )
            return None


_refusal = _Refusal()


def pinned_bytes(size: int) -> np.ndarray:
    """(size,) uint8 of undefined content, pinned where that can be had.

    torch rounds its size up to a power of two, and keeps it for itself when it is no longer used.
    """
    memory = _refusal.unless(lambda: torch.empty(size, dtype=torch.uint8, pin_memory=True))
    return np.empty(size, np.uint8) if memory is None else memory.numpy()


def pinned(part: torch.Tensor) -> torch.Tensor:
    """The tensor itself if it is pinned, or else a copy that is; itself, too, where none can be had."""
    if part.is_pinned():
        return part
    copy = _refusal.unless(part.pin_memory)
    return part if copy is None else copy
