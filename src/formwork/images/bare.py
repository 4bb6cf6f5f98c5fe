"""Image files without their metadata: what is left where Pillow cannot read a file for what says nothing of its pixels.

Of PNG files, formwork.images.png does it in any case; the others are read as they are first.
"""

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

from formwork.images.orientation import EXIF_START, INTEGERS, ORIENTATION

APP0, APP1, APP14, APP15, COM = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
SOI, SOS, TEM, RST = 0xD8, 0xDA, 0x01, range(0xD0, 0xD8)
JFIF, ADOBE, XMP = b"JFIF\0", b"Adobe", b"http://ns.adobe.com/xap/1.0/\0"
LEAST_JFIF, LEAST_ADOBE = 14, 12  # bytes, below which libjpeg sees something else in them

WEBP_PIXELS = (b"VP8X", b"ALPH", b"VP8 ", b"VP8L")
JPEG2000_PIXELS = (b"jP  ", b"ftyp", b"jp2h", b"jp2c")
GIF_EXTENSION, GIF_IMAGE, GIF_GRAPHICS = 0x21, 0x2C, b"\xf9\x04"

TIFF_SIZE = {256, 257}  # tags that every picture has
TIFF_PIXELS = TIFF_SIZE | {
    *(254, 255, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 297, 317, 320, 322, 323, 324, 325, 330),
    *(332, 334, 338, 339, 347, 512, 513, 514, 515, 517, 519, 520, 521, 529, 530, 531, 532, 559, 50674),
}
"""TIFF's tags of size, layout, compression and colours."""
AVIF_EXIF = re.compile(rb"(infe[\2\3].{3}(?:.{4}|.{6}))Exif", re.DOTALL)
"""Where an entry of AVIF's list of items says what it is."""


class Bare(NamedTuple):
    """An image file without metadata, and the metadata that says how the image lies, by their names in Image.info."""

    content: bytes
    info: dict[str, str | bytes]


def bare(content: bytes) -> Bare | None:
    """The same pixels in a file without metadata; None for a format that has none, and for a file of no structure."""
    if content[4:8] == b"ftyp":
        return _avif(content)
    for start, strip in FORMATS.items():
        if content.startswith(start):
            return strip(content)
    return None


def _jpeg(content: bytes) -> Bare | None:
    kept, at = [content[:2]], 2
    exif = xmp = b""
    while (at := content.find(b"\xff", at)) >= 0 and at + 4 <= len(content):
        marker = content[at + 1]
        if marker in (0, 0xFF, SOI, TEM, *RST):  # a fill byte, bytes between segments, or markers without content
            at += 1
            continue
        if marker == SOS:
            return Bare(b"".join([*kept, content[at:]]), {"exif": exif, "xmp": xmp})
        stop = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        body = content[at + 4 : stop]
        if marker == APP1 and body.startswith(EXIF_START):
            exif += body[len(EXIF_START) if exif else 0 :]
        elif marker == APP1 and body.startswith(XMP):
            xmp = body[len(XMP) :]
        elif (
            not (APP0 <= marker <= APP15 or marker == COM)
            or (marker == APP0 and body.startswith(JFIF) and len(body) >= LEAST_JFIF)
            or (marker == APP14 and body.startswith(ADOBE) and len(body) >= LEAST_ADOBE)
        ):
            kept.append(content[at:stop])
        at = stop
    return None


def _webp(content: bytes) -> Bare | None:
    """Of a still image."""
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(content):
        kind, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        chunk = content[at : at + 8 + size]
        if len(chunk) < 8 + size and kind in WEBP_PIXELS:
            return None  # the picture is cut short
        chunks.setdefault(kind, chunk + bytes(size % 2))
        at += 8 + size + size % 2
    info: dict[str, str | bytes] = {
        name: chunks[kind][8:] for kind, name in ((b"EXIF", "exif"), (b"XMP ", "xmp")) if kind in chunks
    }
    header, alpha, lossy, lossless = (chunks.get(kind, b"") for kind in WEBP_PIXELS)
    if alpha and len(header) >= 18:
        body = struct.pack("<4sIB3x", b"VP8X", 10, 0x10) + header[12:18] + alpha + lossy
    else:
        body = lossless or lossy
    if content[8:12] != b"WEBP" or b"ANIM" in chunks or not body or (alpha and body is lossy):
        return None
    return Bare(struct.pack("<4sI4s", b"RIFF", 4 + len(body), b"WEBP") + body, info)


def webp_size(content: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP by its header; None of any other file."""
    if content[:4] != b"RIFF" or content[8:12] != b"WEBP" or len(content) < 30:
        return None
    match content[12:16]:
        case b"VP8X":
            return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(content[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
    return None


def _gif(content: bytes) -> Bare | None:
    """Without comments, and extensions for applications; one of graphics has four bytes."""
    at = 13 + _colours(content[10:11])
    kept = [content[:at]]
    while at < len(content):
        start, kind = at, content[at]
        if kind == GIF_IMAGE:
            at += 10 + _colours(content[at + 9 : at + 10]) + 1
        elif kind == GIF_EXTENSION:
            at += 2
        else:
            kept.append(b";")
            return Bare(b"".join(kept), {})
        while at < len(content) and content[at]:
            at += 1 + content[at]
        at += 1
        if kind == GIF_IMAGE or content[start + 1 : start + 3] == GIF_GRAPHICS:
            kept.append(content[start:at])
    return Bare(b"".join(kept), {})


def _colours(flags: bytes) -> int:
    """Bytes of a table of colours of a GIF file, from the byte that says whether there is one."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


class _Tiff(NamedTuple):
    """The layout of a TIFF file: struct's names for its numbers, for the length of a directory, and for an entry."""

    number: str
    length: str
    entry: str

    def directory(self, content: bytes, place: int) -> tuple[list[tuple[int, int, int, bytes]], int]:
        """The entries of a directory, as (tag, type, number of values, value or its place), and the place of the next.

        Raises:
            struct.error: it lies outside the file.
        """
        (entries,) = struct.unpack_from(self.length, content, place)
        start = place + struct.calcsize(self.length)
        end = start + entries * struct.calcsize(self.entry)
        (following,) = struct.unpack_from(self.number, content, end)
        return list(struct.iter_unpack(self.entry, content[start:end])), following


def _tiff(content: bytes) -> Bare | None:
    """With the needed entries of its first directory alone; an orientation is given the type that it should have."""
    order = "<" if content.startswith(b"II") else ">"
    big = b"+" in content[2:4]
    layout = _Tiff(*(order + name for name in (("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s"))))
    try:
        (place,) = struct.unpack_from(layout.number, content, 8 if big else 4)
        entries, following = layout.directory(content, place)
    except (struct.error, OverflowError):
        return None
    kept = []
    for tag, kind, values, value in entries:
        if tag == ORIENTATION and kind in INTEGERS and values == 1:
            (orientation,) = struct.unpack_from(order + INTEGERS[kind], value)
            kept.append((tag, 3, 1, struct.pack(f"{order}H", orientation & 0xFFFF)))
        elif tag in TIFF_PIXELS:
            kept.append((tag, kind, values, value))
    try:
        next_tags = {entry[0] for entry in layout.directory(content, following)[0]} if following else set()
    except (struct.error, OverflowError):
        next_tags = set()
    changed = struct.pack(layout.length, len(kept)) + b"".join(struct.pack(layout.entry, *entry) for entry in kept)
    changed += struct.pack(layout.number, following if next_tags >= TIFF_SIZE else 0)
    return Bare(content[:place] + changed + content[place + len(changed) :], {})


def _jpeg2000(content: bytes) -> Bare:
    """With those of its boxes alone that make the picture, of which jp2c is the last."""
    kept, at, kind = [], 0, b""
    while at + 8 <= len(content) and kind != b"jp2c":
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        end = at + size if size >= 8 else len(content)
        if kind in JPEG2000_PIXELS:
            kept.append(content[at:end])
        at = end
    return Bare(b"".join(kept), {})


def _avif(content: bytes) -> Bare:
    """With EXIF under a name that nobody looks for: how it lies is said elsewhere in the file."""
    return Bare(AVIF_EXIF.sub(rb"\1none", content), {})


FORMATS: dict[bytes, Callable[[bytes], Bare | None]] = {
    b"\xff\xd8": _jpeg,
    b"RIFF": _webp,
    b"GIF8": _gif,
    b"\0\0\0\x0cjP": _jpeg2000,
    b"II*\0": _tiff,
    b"II+\0": _tiff,
    b"MM\0*": _tiff,
    b"MM\0+": _tiff,
}
"""What strips each format, by the first bytes of its files."""
