"""Verification of single files: each is read and decoded once, for what manifest and channel statistics need of it."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from formwork.datasets.perceptual_hash import HASH_BYTES, PerceptualHashes
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.containers import container_status, in_container, read_image
from formwork.images.pixels import FORMATS, MAX_PIXELS, UndefinedPixels, decode
from formwork.images.tars import NO_TARGET, WHY_NOT, Span
from formwork.limits import OF_A_FILE, of_the_run

T = TypeVar("T")

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
"""The first bytes of files of the supported formats. A file that has them and that Pillow still refuses is damaged."""
CUT_SHORT = ("truncated", "reached eof", "unexpected end", "but only got", "not enough data")
LARGEST_FILE = 16 * MAX_PIXELS  # bytes; no format stores more for a pixel
BLOCK = 256  # pixels; a sum of so many squares of bytes is below 2**24, up to which float32 counts exactly
BATCH = 64 * BLOCK  # pixels summed in one call: many small images share its cost, and the data fits a core's cache
BY_CHANNEL = np.tile(np.eye(3, dtype=np.float32), (BLOCK, 1))
VALUES = np.arange(256)
POWERS = np.stack([VALUES, VALUES**2], axis=1)


Moments = tuple[int, int, int, int, int, int]
"""Channel by channel, the sum of all 8-bit values of an image and the sum of their squares."""


class ImageInfo(NamedTuple):
    """A file that holds a sound image.

    Attributes:
        size, mtime_ns, inode: of the file, before it was read; size in bytes.
        width, height: in pixels, upright.
        mode, format: as Pillow names what the file holds.
        sha256: of the file's content, 32 bytes.
        moments: see Moments.
        hash: what it shows; see formwork.datasets.perceptual_hash.
    """

    size: int
    mtime_ns: int
    inode: int
    width: int
    height: int
    mode: str
    format: str
    sha256: bytes
    moments: Moments
    hash: bytes


RECORD = np.dtype(
    [
        ("size", np.int64),
        ("mtime_ns", np.int64),
        ("inode", np.uint64),
        ("width", np.int32),
        ("height", np.int32),
        ("mode", "S8"),
        ("format", "S8"),
        ("sha256", "V32"),
        ("moments", np.int64, (6,)),
        ("hash", f"V{HASH_BYTES}"),
    ]
)
"""The fields of ImageInfo, in their order: results are kept and cached as arrays of these. What is to be known of each
image is one more field of both: the cache is made anew, and Verification has it as `images["<name>"]`."""


class BadFile(NamedTuple):
    """A file that cannot be used as an image. kind: one of formwork.datasets.findings.BAD."""

    kind: str
    reason: str


class Unchanged(NamedTuple):
    """A file whose content is known already: the fields of ImageInfo that another copy of it does not share."""

    size: int
    mtime_ns: int
    inode: int


class File(NamedTuple):
    """A file to verify.

    Attributes:
        path: relative to the raw dataset.
        span: where it is in its tar; None where it lies in none.
        known: SHA-256 of a content that was verified before, which the file may still have.
    """

    path: str
    span: Span | None = None
    known: bytes = b""


Result = ImageInfo | Unchanged | BadFile
WithoutPixels = tuple[int, int, int, int, int, str, str, bytes]
"""The fields of ImageInfo up to sha256: the others are worked out for many images at once."""


def verify_files(root: str, files: Sequence[File]) -> list[Result]:
    """Read each file, in order, and fully decode it, unless it has the content that it had before.

    Args:
        root: the raw dataset.

    Raises:
        DatasetError: memory, files or a disk are lacking, which says nothing of a file; the message names it.
    """
    pixels = PixelFigures()
    results = [_verify(root, file, pixels) for file in files]
    figures = iter(pixels.finish())
    return [
        result if isinstance(result, BadFile | Unchanged) else ImageInfo(*result, *next(figures)) for result in results
    ]


def _verify(root: str, file: File, pixels: "PixelFigures") -> WithoutPixels | Unchanged | BadFile:
    """Verify one file; a sound image is added to `pixels`."""

    def figures(data: bytes, mtime_ns: int, inode: int) -> WithoutPixels | Unchanged:
        digest = hashlib.sha256(data).digest()
        if digest == file.known:
            return Unchanged(len(data), mtime_ns, inode)
        image = decode(data)
        pixels.add(image.rgb)  # last: a file that raises must add nothing
        return (len(data), mtime_ns, inode, *image.rgb.size, image.mode, image.format, digest)

    return with_content(root, file, figures)


def with_content(root: str, file: File, use: Callable[[bytes, int, int], T]) -> T | BadFile:
    """What `use`, which decodes it, makes of a file's content, its mtime in ns and its inode; or why it is no image.

    Args:
        root: the folder that the file's path is relative to.

    Raises:
        DatasetError: memory, files or a disk are lacking, which says nothing of the file; the message names it.
    """
    try:
        return _with_content(root, file, use)
    except (OSError, MemoryError) as error:
        if message := of_the_run(printable(f"{root}/{file.path}"), error):
            raise DatasetError(message) from error
        return BadFile("unreadable", str(error))


def _with_content(root: str, file: File, use: Callable[[bytes, int, int], T]) -> T | BadFile:
    if file.span and file.span[0] == NO_TARGET:
        return BadFile("broken symlink", WHY_NOT[NO_TARGET])
    try:
        data, mtime_ns, inode = _read(root, file)
    except FileNotFoundError:
        if os.path.islink(f"{root}/{file.path}"):
            return BadFile("broken symlink", "its target is missing")
        return BadFile("unreadable", "it is not there any more")
    except PermissionError as error:
        return BadFile("no permission", error.strerror or str(error))
    except UndefinedPixels as error:
        return BadFile(error.kind, str(error))
    except OSError as error:
        if error.errno not in OF_A_FILE:
            raise
        return BadFile("unreadable", error.strerror or str(error))
    if not data:
        return BadFile("zero bytes", "the file is empty")
    try:
        return use(data, mtime_ns, inode)
    except UndefinedPixels as error:
        return BadFile(error.kind, str(error))
    except UnidentifiedImageError:
        if data.startswith(SIGNATURES):
            return BadFile("truncated", "the file ends in its header, or the header is damaged")
        return BadFile("not an image", f"none of {', '.join(FORMATS)}")
    except MemoryError:
        raise
    except Exception as error:  # whatever else decoding raises, the file is to be listed
        reason = str(error) or type(error).__name__
        return BadFile("truncated" if _is_cut_short(data, reason) else "unreadable", reason)


def _read(root: str, file: File) -> tuple[bytes, int, int]:
    """A file's content, and its mtime in ns and inode before that was read; see container_status for those of an image
    in a container. Three system calls: of small images, each counts."""
    if container := in_container(root, file.path):
        stamp = container_status(f"{root}/{container}")
        _check_size(file.span[1] if file.span else 0)
        return read_image(root, file.path, file.span), *stamp
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # opening a pipe would wait for its writer
    descriptor = os.open(f"{root}/{file.path}", flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "neither a file nor a folder")
        _check_size(status.st_size)
        data = os.read(descriptor, status.st_size + 1)
        while len(data) != status.st_size and (more := os.read(descriptor, max(status.st_size - len(data), 1 << 20))):
            data += more
        return data, status.st_mtime_ns, status.st_ino
    finally:
        os.close(descriptor)


def _check_size(size: int) -> None:
    if size > LARGEST_FILE:
        raise UndefinedPixels("too large", f"{size / 1e9:.1f} GB: no image within the limit of pixels is")


def _is_cut_short(data: bytes, reason: str) -> bool:
    if any(words in reason.lower() for words in CUT_SHORT):
        return True
    # libwebp does not say why it refuses a file, but its header says how long it should be.
    return data.startswith(b"RIFF") and len(data) < 8 + int.from_bytes(data[4:8], "little")


class PixelFigures:
    """What is worked out from the pixels of many images: the moments and the perceptual hash of each."""

    def __init__(self) -> None:
        self._moments, self._hashes = ChannelMoments(), PerceptualHashes()

    def add(self, rgb: Image.Image) -> None:
        """Add an image of mode RGB."""
        pixels = rgb.tobytes() if rgb.width * rgb.height <= BATCH else None
        self._hashes.add(rgb, pixels)
        self._moments.add(rgb, pixels)

    def finish(self) -> list[tuple[Moments, bytes]]:
        """Those of each image, in the order in which they were added."""
        return list(zip(self._moments.finish(), self._hashes.finish(), strict=True))


class ChannelMoments:
    """The moments of many images, without rounding: all sums are integers that their type can represent.

    Small images are summed many at a time, as one matrix product.
    """

    def __init__(self) -> None:
        self._done: list[Moments] = []
        self._pixels: list[bytes] = []  # of the images of the next batch, each padded with zeros to whole blocks
        self._blocks: list[int] = []  # number of blocks of each of these images
        self._waiting = 0  # pixels of these images, without padding
        self._values = np.empty((0, 3 * BLOCK), dtype=np.float32)  # kept: new memory costs a page fault for each page

    def add(self, rgb: Image.Image, data: bytes | None) -> None:
        """Add an image of mode RGB, with its bytes where it has at most BATCH pixels."""
        if data is None:
            histogram = np.array(rgb.histogram(), dtype=np.int64).reshape(3, 256)
            self._sum_batch()
            self._append(histogram @ POWERS)
            return
        pixels = rgb.width * rgb.height
        self._pixels.append(data)
        if missing := -pixels % BLOCK:
            self._pixels.append(bytes(3 * missing))
        self._blocks.append((pixels + missing) // BLOCK)
        self._waiting += pixels
        if self._waiting >= BATCH:
            self._sum_batch()

    def finish(self) -> list[Moments]:
        """The moments of each image, in the order in which they were added."""
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
        self._append(np.add.reduceat(by_block, starts, axis=0))
        self._pixels.clear()
        self._blocks.clear()
        self._waiting = 0

    def _append(self, moments: np.ndarray) -> None:
        """moments: integers, six an image."""
        self._done += [(a, b, c, d, e, f) for a, b, c, d, e, f in moments.reshape(-1, 6).tolist()]
