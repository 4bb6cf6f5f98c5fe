"""JPEG work that the kernel leaves to libjpeg-turbo: unusual files when decoding, and all encoding.

It is taken from where it is found first:

    libturbojpeg    of the system, or the one that ffcv is linked with; by its C interface
    simplejpeg      a wheel that has it inside; for decoding alone: the files that it writes have other bytes
    Pillow          which has it inside, too, and no way to hear of its warnings; writes all files with restart markers

All of them release the GIL. They use the accurate integer DCT and smooth upsampling, so that the pixels, and the files
that are written, are the same whichever is there.
"""

import ctypes
import io
import os
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

RGB = 0  # TJPF_RGB
ACCURATE_DCT = 4096  # TJFLAG_ACCURATEDCT
WARNING = 0  # TJERR_WARNING
SUBSAMPLINGS = {444: 0, 422: 1, 420: 2}  # TJSAMP_444, _422, _420
LIBRARIES = ("libturbojpeg.so.0", "libturbojpeg.0.dylib", "libturbojpeg.dylib")
END = b"\xff\xd9"  # of a file
LARGE = 1 << 16  # bytes of pixels; Pillow needs 0.03 ms more to encode without the GIL


class Decoded(NamedTuple):
    """What a decoder makes of a file.

    Attributes:
        pixels: (height, width, 3) uint8 RGB; None where the file is damaged, is no JPEG of this size, or is CMYK.
        sound: the decoder had nothing to guess at, such as needless bytes between two parts of the file; False also
            where it cannot say so.
    """

    pixels: np.ndarray | None
    sound: bool


Decoder = Callable[[bytes, int, int, np.ndarray | None], Decoded]
DAMAGED = Decoded(None, False)


def decode(content: bytes, width: int, height: int) -> np.ndarray | None:
    """(height, width, 3) uint8 RGB of a JPEG file of this size; None where a decoder has anything to complain of, or
    there is none that would say so."""
    decoder = strict_decoder()
    pixels, sound = decoder(content, width, height, None) if decoder else DAMAGED
    return pixels if sound else None


def decode_anyhow(content: bytes, width: int, height: int, memory: np.ndarray | None = None) -> Decoded:
    """A JPEG file of this size, as far as it can be decoded.

    Args:
        memory: (at least 3 * height * width,) uint8, which the pixels may lie in; the system clears new memory first.

    Raises:
        MemoryError: there is not enough for it.
    """
    return (strict_decoder() or _decode_by_pillow)(content, width, height, memory)


def encode(pixels: np.ndarray, quality: int, subsampling: int, restart_interval: int = 0) -> bytes:
    """A JPEG file of (H, W, 3) uint8 RGB pixels, contiguous.

    Args:
        quality: 1 to 100.
        subsampling: of the chroma, a key of SUBSAMPLINGS.
        restart_interval: units of blocks between two restart markers; 0: none are written.

    Raises:
        MemoryError: there is not enough for it, the one thing that can go wrong.
    """
    if restart_interval or library() is None:  # before its version 3, libturbojpeg is told of markers by no function
        return _encode_by_pillow(pixels, quality, subsampling, restart_interval)
    return _encode_by_library(pixels, quality, subsampling)


@cache
def strict_decoder() -> Decoder | None:
    """One that says whether a file is sound; None where neither libturbojpeg nor simplejpeg is installed."""
    if library() is not None:
        return _decode_by_library
    return _decode_by_simplejpeg if find_spec("simplejpeg") else None


@cache
def library() -> ctypes.CDLL | None:
    """libturbojpeg; None where it is not installed."""
    for name in LIBRARIES:
        try:
            return _with_types(ctypes.CDLL(name))
        except OSError:
            continue
    package = find_spec("ffcv")  # without importing it, which takes seconds
    found = sorted(Path(package.origin).parent.glob("_libffcv*.so")) if package and package.origin else []
    return _with_types(ctypes.CDLL(str(found[0]))) if found else None


_POINTER, _INT, _LONG = ctypes.c_void_p, ctypes.c_int, ctypes.c_ulong
_INT_OUT = ctypes.POINTER(_INT)
_ARGUMENTS = {
    "tjDecompressHeader3": [_POINTER, _POINTER, _LONG, _INT_OUT, _INT_OUT, _INT_OUT, _INT_OUT],
    "tjDecompress2": [_POINTER, _POINTER, _LONG, _POINTER, _INT, _INT, _INT, _INT, _INT],
    "tjCompress2": [
        *(_POINTER, _POINTER, _INT, _INT, _INT, _INT),
        *(ctypes.POINTER(_POINTER), ctypes.POINTER(_LONG), _INT, _INT, _INT),
    ],
    "tjGetErrorCode": [_POINTER],
    "tjGetErrorStr2": [_POINTER],
    "tjDestroy": [_POINTER],
    "tjFree": [_POINTER],
}


def _with_types(turbojpeg: ctypes.CDLL) -> ctypes.CDLL:
    for name in ("tjInitDecompress", "tjInitCompress"):
        getattr(turbojpeg, name).restype = ctypes.c_void_p
    turbojpeg.tjGetErrorStr2.restype = ctypes.c_char_p
    for name, arguments in _ARGUMENTS.items():
        getattr(turbojpeg, name).argtypes = arguments
    return turbojpeg


def _decode_by_library(content: bytes, width: int, height: int, memory: np.ndarray | None = None) -> Decoded:
    turbojpeg = library()
    assert turbojpeg is not None
    handle = turbojpeg.tjInitDecompress()
    if not handle:
        raise MemoryError(f"to decode {width} x {height} pixels")
    try:
        numbers = [_INT() for _ in range(4)]
        turbojpeg.tjDecompressHeader3(handle, content, len(content), *map(ctypes.byref, numbers))
        if (numbers[0].value, numbers[1].value) != (width, height):  # libturbojpeg would scale it
            return DAMAGED
        pixels = np.empty((height, width, 3), np.uint8) if memory is None else _part(memory, width, height)

        def decompress() -> int:
            return turbojpeg.tjDecompress2(
                handle, content, len(content), pixels.ctypes.data, width, 3 * width, height, RGB, ACCURATE_DCT
            )

        failed = decompress()
        if failed:
            _check_memory(turbojpeg.tjGetErrorStr2(handle).decode(errors="replace"), width, height)
            if turbojpeg.tjGetErrorCode(handle) != WARNING:
                return DAMAGED
            # After a warning, a fatal error has the code of a warning, too. What it leaves unwritten differs now.
            first = pixels.copy()
            np.invert(pixels, out=pixels)
            decompress()
            if not np.array_equal(pixels, first):
                return DAMAGED
        return Decoded(pixels, not failed)
    finally:
        turbojpeg.tjDestroy(handle)


def _decode_by_simplejpeg(content: bytes, width: int, height: int, memory: np.ndarray | None = None) -> Decoded:
    import simplejpeg

    try:
        rows, columns, colours, _ = simplejpeg.decode_jpeg_header(content)
        if (rows, columns) != (height, width) or colours in ("CMYK", "YCCK"):
            return DAMAGED
        buffer = None if memory is None else _part(memory, width, height)
        return Decoded(simplejpeg.decode_jpeg(content, buffer=buffer), True)
    except (ValueError, KeyError) as error:  # also for what libturbojpeg only warns of; KeyError: odd subsampling
        _check_memory(str(error), width, height)
        return _decode_by_pillow(content, width, height)


def _check_memory(message: str, width: int, height: int) -> None:
    """Raise MemoryError where it is what libjpeg-turbo complains of."""
    if "memory" in message.lower():
        raise MemoryError(f"to decode {width} x {height} pixels")


def _decode_by_pillow(content: bytes, width: int, height: int, memory: np.ndarray | None = None) -> Decoded:
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            if image.size != (width, height) or image.mode not in ("RGB", "L"):
                return DAMAGED
            return Decoded(np.array(image.convert("RGB")), False)
    except MemoryError:
        raise
    except Exception:  # its parsers raise many kinds on damaged data
        return DAMAGED


def _part(memory: np.ndarray, width: int, height: int) -> np.ndarray:
    return memory[: 3 * height * width].reshape(height, width, 3)


def _encode_by_library(pixels: np.ndarray, quality: int, subsampling: int) -> bytes:
    turbojpeg = library()
    assert turbojpeg is not None
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


def _encode_by_pillow(pixels: np.ndarray, quality: int, subsampling: int, restart_interval: int = 0) -> bytes:
    # Pillow releases the GIL where it writes to a file of the system, and keeps it where it writes to a BytesIO.
    image = Image.fromarray(pixels)
    with io.BytesIO() if pixels.nbytes < LARGE else _memory_file() as file:
        image.save(
            *(file, "JPEG"),
            quality=quality,
            subsampling=":".join(str(subsampling)),
            restart_marker_blocks=restart_interval,
        )
        file.seek(0)
        content = file.read()
    if not content.endswith(END):  # Pillow does not notice where there is no room
        raise MemoryError(f"a JPEG of {image.width} x {image.height} pixels")
    return content


def _memory_file() -> io.BufferedRandom:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("jpeg"), "w+b")
    return tempfile.TemporaryFile()
