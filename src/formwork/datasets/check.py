"""Reading files once each: what a manifest and the channel statistics need to know of an image, or what is wrong."""

import hashlib
import io
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from formwork.datasets.images import FORMATS, UndefinedPixels, decode

SIGNATURES = (
    b"\xff\xd8\xff",
    b"\x89PNG",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF",
    b"\0\0\0\x0cjP",
    b"\xff\x4f\xff\x51",
)
"""How files of the formats begin. One that does, and still is no image to Pillow, is damaged or cut short."""
CUT_SHORT = ("truncated", "reached eof", "unexpected end", "but only got", "not enough data")
SMALL = 1 << 14  # pixels; below it a matrix product is faster than a histogram, above it takes less memory
VALUES = np.arange(256)
POWERS = np.stack([VALUES, VALUES**2], axis=1)


class Facts(NamedTuple):
    """An image. size (bytes), mtime_ns, inode: of the file, before it was read. width, height: upright.

    sha256: of the file's bytes, as bytes. moments: for each channel in turn, the sum of all 8-bit values and of their
    squares.
    """

    size: int
    mtime_ns: int
    inode: int
    width: int
    height: int
    mode: str
    format: str
    sha256: bytes
    moments: tuple[int, int, int, int, int, int]


class Bad(NamedTuple):
    """A file that holds no image to learn from. kind: one of formwork.datasets.findings.BAD."""

    kind: str
    reason: str


def check_all(root: str, paths: Sequence[str]) -> list[Facts | Bad]:
    """`check` for each path below `root`: the unit of work of a process."""
    return [check(f"{root}/{path}") for path in paths]


def check(path: str) -> Facts | Bad:
    """Read and fully decode one file, once."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # before opening it: a pipe would never answer
            return Bad("unreadable", "neither a file nor a folder")
        with open(path, "rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            data = file.readall()
    except FileNotFoundError:
        return Bad("broken symlink", "its target is missing")
    except PermissionError as error:
        return Bad("no permission", error.strerror or str(error))
    except OSError as error:
        return Bad("unreadable", error.strerror or str(error))
    if not data:
        return Bad("zero bytes", "the file is empty")
    try:
        image = decode(io.BytesIO(data))
        return Facts(
            size=len(data),
            mtime_ns=before.st_mtime_ns,
            inode=before.st_ino,
            width=image.rgb.width,
            height=image.rgb.height,
            mode=image.mode,
            format=image.format,
            sha256=hashlib.sha256(data).digest(),
            moments=moments(image.rgb),
        )
    except UndefinedPixels as error:
        return Bad(error.kind, str(error))
    except UnidentifiedImageError:
        if data.startswith(SIGNATURES):
            return Bad("truncated", "the file ends in its header, or the header is damaged")
        return Bad("not an image", f"none of {', '.join(FORMATS)}")
    except Exception as error:  # whatever decoding raises, lack of memory too, the file is to be listed
        reason = str(error) or type(error).__name__
        return Bad("truncated" if _is_cut_short(data, reason) else "unreadable", reason)


def _is_cut_short(data: bytes, reason: str) -> bool:
    if any(words in reason.lower() for words in CUT_SHORT):
        return True
    # libwebp does not say why it refuses a file, but its header says how long it should be.
    return data.startswith(b"RIFF") and len(data) < 8 + int.from_bytes(data[4:8], "little")


def moments(rgb: Image.Image) -> tuple[int, int, int, int, int, int]:
    """See Facts. Exact: floats of 64 bits hold the sums of an image of 2**28 pixels without rounding."""
    if rgb.width * rgb.height > SMALL:
        histogram = np.array(rgb.histogram(), dtype=np.int64).reshape(3, 256)
        return tuple((histogram @ POWERS).ravel().tolist())
    pixels = np.frombuffer(rgb.tobytes(), dtype=np.uint8).reshape(-1, 3).astype(np.float64)
    sums = np.ones(len(pixels)) @ pixels
    squares = (pixels.T @ pixels).diagonal()
    return tuple(int(value) for pair in zip(sums.tolist(), squares.tolist(), strict=True) for value in pair)
