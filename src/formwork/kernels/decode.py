"""Decode a JPEG file to the pixels of libjpeg-turbo, bit for bit."""

import threading
from types import ModuleType

import numpy as np

from formwork.kernels import libjpeg
from formwork.kernels.compile import either

KEPT = 1 << 22  # bytes of memory that a thread keeps for the next image

_threads = threading.local()


def decode(content: bytes, width: int, height: int) -> np.ndarray | None:
    """All pixels of a JPEG file of this size.

    Most are decoded by the kernel in formwork.kernels.jpeg, all others, as in the plain form, by libjpeg-turbo. The GIL
    is released meanwhile.

    Returns:
        (height, width, 3) uint8 RGB; None where libjpeg-turbo has anything to complain of, or cannot be asked.
    """
    pixels = _decode(content, width, height)
    return libjpeg.decode(content, width, height) if pixels is None else pixels


def _by_kernel(content: bytes, width: int, height: int) -> np.ndarray | None:
    """None where the kernel refuses it."""
    from formwork.kernels.jpeg import decode as kernels

    memory, pixels = _memory(kernels, content, width, height), np.empty(3 * height * width + kernels.SLACK, np.uint8)
    data = np.frombuffer(bytearray(content), np.uint8)  # memory that can be written to: the kernel is compiled for that
    if not kernels.decode(data, height, width, 0, height, 0, width, True, _threads.decoder, memory, pixels):
        return None
    return pixels[: -kernels.SLACK].reshape(height, width, 3)


def _memory(kernels: ModuleType, content: bytes, width: int, height: int) -> np.ndarray:
    """Memory of this thread to decode in."""
    if not hasattr(_threads, "decoder"):
        _threads.decoder, _threads.memory = kernels.new_decoder(), np.empty(0, np.uint8)
    memory, needed = _threads.memory, kernels.memory_needed(height, width, len(content))
    if memory.size < needed:
        memory = np.empty(needed, np.uint8)
        if needed <= KEPT:
            _threads.memory = memory
    return memory


def _refused(content: bytes, width: int, height: int) -> np.ndarray | None:
    """The plain form: libjpeg-turbo decodes all files."""
    return None


_decode = either(lambda: _by_kernel, _refused)
