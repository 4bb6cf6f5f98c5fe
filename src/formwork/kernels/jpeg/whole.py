"""All pixels of a JPEG file, for callers in Python."""

import threading

import numpy as np

from formwork.kernels import turbojpeg
from formwork.kernels.jpeg.decode import SLACK, decode, memory_needed, new_decoder

KEPT = 1 << 22  # bytes of memory that a thread keeps for the next image

_threads = threading.local()


def decode_whole(content: bytes, width: int, height: int) -> np.ndarray | None:
    """(height, width, 3) uint8 RGB of a JPEG file of this size. What the kernel refuses, libjpeg-turbo decodes: None
    where that has anything to complain of, or is not there. The interpreter's lock is free meanwhile."""
    if not hasattr(_threads, "decoder"):
        _threads.decoder, _threads.memory = new_decoder(), np.empty(0, np.uint8)
    memory, needed = _threads.memory, memory_needed(height, width, len(content))
    if memory.size < needed:
        memory = np.empty(needed, np.uint8)
        if needed <= KEPT:
            _threads.memory = memory
    data = np.frombuffer(bytearray(content), np.uint8)  # memory that can be written to: the kernel is compiled for that
    pixels = np.empty(3 * height * width + SLACK, np.uint8)
    if not decode(data, height, width, 0, height, 0, width, _threads.decoder, memory, pixels):
        return turbojpeg.decode(content, width, height)
    return pixels[:-SLACK].reshape(height, width, 3)
