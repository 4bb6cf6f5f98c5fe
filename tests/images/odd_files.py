"""Image files with odd metadata, put together byte by byte."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from formwork.images.pixels import read_rgb
from tests.make_images import UPRIGHT

ORIENTATION, MAKE, X_RESOLUTION, RESOLUTION_UNIT, EXIF_DIRECTORY = 0x112, 0x10F, 0x11A, 0x128, 0x8769
BYTE, ASCII, SHORT, LONG, RATIONAL, SBYTE, SSHORT, SLONG, DOUBLE = 1, 2, 3, 4, 5, 6, 8, 9, 12
ON_ITS_SIDE = (ORIENTATION, SHORT, 1, 6)
UNREADABLE = None  # an orientation that no reader is bound to find: only that the image can be read matters
Entry = tuple[int, int, int, int | bytes]
"""Tag, type, number of values, and the value, or its place."""


def gradient(width: int = 21, height: int = 13) -> Image.Image:
    """RGB of which no turned or mirrored form looks alike."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 12, y * 19, x * y % 256], axis=-1).astype(np.uint8))


def written(image: Image.Image, format: str, **options: object) -> bytes:  # noqa: A002  (Pillow's word)
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def exif(
    *entries: Entry,
    order: str = "<",
    place: int = 8,
    count: int | None = None,
    following: int = 0,
    version: int = 42,
) -> bytes:
    """EXIF data, which is a TIFF file.

    Args:
        place: of the directory. count: of entries that it claims. following: the place of the next one.
    """
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HI", version, place)
    return head + directory(entries, order, count, following)


def directory(entries: Sequence[Entry], order: str, count: int | None = None, following: int = 0) -> bytes:
    body = struct.pack(f"{order}H", len(entries) if count is None else count)
    for tag, kind, values, value in entries:
        if isinstance(value, int):
            name = {BYTE: "B3x", SBYTE: "b3x", SHORT: "H2x", SSHORT: "h2x", SLONG: "i"}.get(kind, "I")
            value = struct.pack(order + name, value)
        body += struct.pack(f"{order}HHI4s", tag, kind, values, value)
    return body + struct.pack(f"{order}I", following)


def with_tags(tiff: bytes, *entries: Entry) -> bytes:
    """A TIFF file of little-endian numbers with other entries in its directory, which then stands at its end."""
    (place,) = struct.unpack_from("<I", tiff, 4)
    (count,) = struct.unpack_from("<H", tiff, place)
    new = {entry[0] for entry in entries}
    old = [struct.unpack_from("<HHI4s", tiff, place + 2 + 12 * i) for i in range(count)]
    kept = [entry for entry in old if entry[0] not in new]
    tiff += bytes(len(tiff) % 2)
    return tiff[:4] + struct.pack("<I", len(tiff)) + tiff[8:] + directory(sorted([*kept, *entries]), "<")


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def with_segments(jpeg: bytes, *segments: bytes, before: bytes = b"") -> bytes:
    """A JPEG with more after its first marker, or before the first of `before`."""
    at = jpeg.index(before) if before else 2
    return jpeg[:at] + b"".join(segments) + jpeg[at:]


def exif_segment(data: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + data)


def xmp(orientation: int) -> bytes:
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def chunk(kind: bytes, body: bytes, damaged: bool = False, length: int | None = None) -> bytes:
    """A chunk of a PNG.

    Args:
        damaged: whether its checksum is wrong. length: that it claims.
    """
    checksum = zlib.crc32(kind + body) ^ damaged
    return struct.pack(">I", len(body) if length is None else length) + kind + body + struct.pack(">I", checksum)


def with_chunks(png: bytes, *chunks: bytes, before: bytes = b"IDAT") -> bytes:
    at = png.index(before) - 4
    return png[:at] + b"".join(chunks) + png[at:]


def vp8x(flags: int) -> tuple[bytes, bytes]:
    """The first chunk of a WebP of a gradient() with metadata."""
    return b"VP8X", bytes([flags, 0, 0, 0, 20, 0, 0, 12, 0, 0])


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    """A WebP of chunks.

    Args:
        size: that it claims to be.
    """
    body = b"WEBP"
    for kind, content in chunks:
        body += kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def riff_chunks(webp: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 12
    while at + 8 <= len(webp):
        kind, size = webp[at : at + 4], int.from_bytes(webp[at + 4 : at + 8], "little")
        chunks.append((kind, webp[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return chunks


def stored(content: bytes) -> np.ndarray:
    """(H, W, 3) uint8, as Pillow decodes a file without metadata."""
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def check(content: bytes, expected: np.ndarray, orientation: int | None = 1) -> None:
    found = np.asarray(read_rgb(content))
    assert any(
        found.shape == UPRIGHT[number](expected).shape and (found == UPRIGHT[number](expected)).all()
        for number in ([orientation] if orientation else UPRIGHT)
    )
