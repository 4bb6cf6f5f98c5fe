"""Reading files once each: what a manifest and the channel statistics need to know of an image, or what is wrong."""

import errno
import hashlib
import io
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from formwork.images.pixels import FORMATS, UndefinedPixels, decode

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
BLOCK = 256  # pixels; a sum of so many squares of bytes is below 2**24, up to which float32 counts exactly
BATCH = 64 * BLOCK  # pixels summed in one call: many small images share its cost, and all of it stays in a core's cache
BY_CHANNEL = np.tile(np.eye(3, dtype=np.float32), (BLOCK, 1))
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


def inspect_files(root: str, paths: Sequence[str]) -> list[Facts | Bad]:
    """Read and fully decode each file below `root`, once: the unit of work of a process."""
    sums = MomentSums()
    found = [_check(f"{root}/{path}", sums) for path in paths]
    moments = iter(sums.finish())
    return [result if isinstance(result, Bad) else Facts(*result, next(moments)) for result in found]


def check(path: str) -> Facts | Bad:
    """`inspect_files` for one file."""
    folder, _, name = path.rpartition("/")
    return inspect_files(folder, [name])[0]


def _check(path: str, sums: "MomentSums") -> tuple | Bad:
    """The fields of Facts but the last, which `sums` is to give."""
    try:
        data, status = _read(path)
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
        digest = hashlib.sha256(data).digest()
        sums.add(image.rgb)  # last: what raises must leave no sums behind
        return (len(data), status.st_mtime_ns, status.st_ino, *image.rgb.size, image.mode, image.format, digest)
    except UndefinedPixels as error:
        return Bad(error.kind, str(error))
    except UnidentifiedImageError:
        if data.startswith(SIGNATURES):
            return Bad("truncated", "the file ends in its header, or the header is damaged")
        return Bad("not an image", f"none of {', '.join(FORMATS)}")
    except Exception as error:  # whatever decoding raises, lack of memory too, the file is to be listed
        reason = str(error) or type(error).__name__
        return Bad("truncated" if _is_cut_short(data, reason) else "unreadable", reason)


def _read(path: str) -> tuple[bytes, os.stat_result]:
    """A file's bytes, and its status before they were read; in three system calls, which count for small images."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # or a pipe would never answer
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "neither a file nor a folder")
        data = os.read(file, status.st_size + 1)
        while len(data) != status.st_size and (more := os.read(file, 1 << 20)):
            data += more
        return data, status
    finally:
        os.close(file)


def _is_cut_short(data: bytes, reason: str) -> bool:
    if any(words in reason.lower() for words in CUT_SHORT):
        return True
    # libwebp does not say why it refuses a file, but its header says how long it should be.
    return data.startswith(b"RIFF") and len(data) < 8 + int.from_bytes(data[4:8], "little")


class MomentSums:
    """The moments of many images; see Facts. Exact: what is summed are integers that the type of the sum can count."""

    def __init__(self) -> None:
        self._done: list[tuple[int, ...]] = []
        self._pixels: list[bytes] = []  # of images that wait to be summed together, each filled up with zeros to blocks
        self._blocks: list[int] = []  # by image
        self._waiting = 0
        self._values = np.empty((0, 3 * BLOCK), dtype=np.float32)  # kept: new memory comes page by page

    def add(self, rgb: Image.Image) -> None:
        pixels = rgb.width * rgb.height
        if pixels > BATCH:
            histogram = np.array(rgb.histogram(), dtype=np.int64).reshape(3, 256)
            self._sum_batch()
            self._done.append(tuple((histogram @ POWERS).ravel().tolist()))
            return
        data = rgb.tobytes()
        self._pixels.append(data)
        if missing := -pixels % BLOCK:
            self._pixels.append(bytes(3 * missing))
        self._blocks.append((pixels + missing) // BLOCK)
        self._waiting += pixels
        if self._waiting >= BATCH:
            self._sum_batch()

    def finish(self) -> list[tuple[int, ...]]:
        """Of all images, in the order in which they were added."""
        self._sum_batch()
        return self._done

    def _sum_batch(self) -> None:
        if not self._blocks:
            return
        pixels = np.frombuffer(b"".join(self._pixels), dtype=np.uint8).reshape(-1, 3 * BLOCK)
        if len(pixels) > len(self._values):
            self._values = np.empty(pixels.shape, dtype=np.float32)
        values = self._values[: len(pixels)]
        values[:] = pixels
        sums = values @ BY_CHANNEL
        squares = np.square(values, out=values) @ BY_CHANNEL
        by_block = np.stack([sums, squares], axis=-1).astype(np.int64).reshape(-1, 6)
        starts = np.cumsum([0, *self._blocks[:-1]])
        self._done += map(tuple, np.add.reduceat(by_block, starts, axis=0).tolist())
        self._pixels.clear()
        self._blocks.clear()
        self._waiting = 0
