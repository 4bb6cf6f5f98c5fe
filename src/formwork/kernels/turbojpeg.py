"""libturbojpeg, by its C interface: the interpreter's lock is free while it works, which Pillow's encoder keeps.

It is the one that ffcv is linked with, so it is there wherever ffcv is; where ffcv is not, Pillow stands in. The pixels
and the files of both are the same, byte for byte: they are of one family, and use its accurate integer DCT.
"""

import ctypes
import io
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

RGB = 0  # TJPF_RGB
ACCURATE_DCT = 4096  # TJFLAG_ACCURATEDCT
SUBSAMPLINGS = {444: 0, 422: 1, 420: 2}  # TJSAMP_444, _422, _420


@cache
def library() -> ctypes.CDLL | None:
    """None where ffcv is not installed."""
    package = find_spec("ffcv")  # without importing it, which takes seconds
    found = sorted(Path(package.origin).parent.glob("_libffcv*.so")) if package and package.origin else []
    if not found:
        return None
    turbojpeg = ctypes.CDLL(str(found[0]))
    for name in ("tjInitDecompress", "tjInitCompress"):
        getattr(turbojpeg, name).restype = ctypes.c_void_p
    for name in ("tjDecompress2", "tjCompress2", "tjDestroy", "tjFree"):
        getattr(turbojpeg, name).argtypes = _ARGUMENTS[name]
    return turbojpeg


_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong
_ARGUMENTS = {
    "tjDecompress2": [_POINTER, _POINTER, _LONG, _POINTER, _INT, _INT, _INT, _INT, _INT],
    "tjCompress2": [
        *(_POINTER, _POINTER, _INT, _INT, _INT, _INT),
        *(ctypes.POINTER(_POINTER), ctypes.POINTER(_LONG), _INT, _INT, _INT),
    ],
    "tjDestroy": [_POINTER],
    "tjFree": [_POINTER],
}


def decode(content: bytes, width: int, height: int) -> np.ndarray | None:
    """(height, width, 3) uint8 RGB of a JPEG file of this size; None where libturbojpeg has anything to complain of, or
    is not there."""
    turbojpeg = library()
    if turbojpeg is None:
        return None
    pixels = np.empty((height, width, 3), np.uint8)
    handle = turbojpeg.tjInitDecompress()
    try:
        failed = turbojpeg.tjDecompress2(
            handle, content, len(content), pixels.ctypes.data, width, 3 * width, height, RGB, ACCURATE_DCT
        )
    finally:
        turbojpeg.tjDestroy(handle)
    return None if failed else pixels


def encode(pixels: np.ndarray, quality: int, subsampling: int) -> bytes:
    """A JPEG file of (H, W, 3) uint8 RGB pixels, contiguous.

    Args:
        quality: 1 to 100.
        subsampling: of the chroma, a key of SUBSAMPLINGS.

    Raises:
        MemoryError: libturbojpeg has no memory for it, the one thing that can go wrong.
    """
    turbojpeg = library()
    if turbojpeg is None:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=":".join(str(subsampling)))
        return buffer.getvalue()
    height, width, _ = pixels.shape
    handle = turbojpeg.tjInitCompress()
    data, size = _POINTER(), _LONG()
    try:
        failed = turbojpeg.tjCompress2(
            *(handle, pixels.ctypes.data, width, 3 * width, height, RGB),
            *(ctypes.byref(data), ctypes.byref(size), SUBSAMPLINGS[subsampling], quality, ACCURATE_DCT),
        )
        if failed:
            raise MemoryError(f"a JPEG of {width} x {height} pixels")
        return ctypes.string_at(data, size.value)
    finally:
        turbojpeg.tjFree(data)
        turbojpeg.tjDestroy(handle)
