"""The chunks of a PNG file that make its pixels, apart from those that people and programs add to it."""

import struct
import zlib

from formwork.images.bare import Bare
from formwork.images.orientation import EXIF_PROFILE

SIGNATURE = b"\x89PNG\r\n\x1a\n"
HEADER = struct.Struct(">I4s")  # of a chunk: bytes of its content, and its type
CHECKSUM = struct.Struct(">I")
OVERHEAD = HEADER.size + CHECKSUM.size
PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT"}
ANIMATION = {b"acTL", b"fcTL", b"fdAT"}
MOST_FRAMES = 1 << 31
TRANSPARENCY = {0: 2, 2: 6}  # least bytes of tRNS by type of colour; in palettes, any number
XMP_KEY = b"XML:com.adobe.xmp"
TEXTS = {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}
ANCILLARY = 0x20  # a bit of the first letter of a chunk's type
END = HEADER.pack(0, b"IEND") + CHECKSUM.pack(zlib.crc32(b"IEND"))
LARGEST_TEXT = 1 << 24  # bytes of a text that are looked at: a few compressed ones may stand for gigabytes


def bare(content: bytes) -> Bare:
    """A PNG file with nothing in it but pixels; `content` itself where that is so, or where it has another structure.

    What Pillow would make of damage to other chunks, of their size, or of texts with names that it uses itself, then
    changes nothing. As in libpng, damage to a chunk that is not needed is no damage to the image.

    Raises:
        OSError: a chunk that makes pixels differs from its checksum, or is cut short.
    """
    view, size = memoryview(content), len(content)
    kept: list[bytes | memoryview] = []
    info: dict[str, str | bytes] = {}
    at, run = len(SIGNATURE), 0  # what is read next, and where that which is kept next begins
    colour, has_data, animated = -1, False, False
    while at + OVERHEAD <= size:
        length, kind = HEADER.unpack_from(content, at)
        end = at + OVERHEAD + length
        if end > size:
            break
        if kind == b"IEND":
            if not kept and end == size:
                return Bare(content, info)
            return Bare(b"".join([*kept, view[run:end]]), info)
        sound = zlib.crc32(view[at + 4 : end - 4]) == CHECKSUM.unpack_from(content, end - 4)[0]
        keep = True  # also unknown chunks that are critical: Pillow is to judge
        if kind in PIXELS:
            if not sound:
                raise OSError(f"the checksum of its {kind.decode()} chunk is wrong")
            if kind == b"IDAT":
                has_data = True
            elif kind == b"IHDR" and length >= 10:
                colour = content[at + HEADER.size + 9]
            elif kind == b"tRNS":
                keep = length >= TRANSPARENCY.get(colour, 1)
        elif kind in ANIMATION:
            frames = int.from_bytes(content[at + HEADER.size : at + HEADER.size + 4], "big")
            keep = animated = animated or (kind == b"acTL" and sound and length >= 8 and 0 < frames <= MOST_FRAMES)
        elif kind[0] & ANCILLARY:
            keep = False
            if sound and kind in TEXTS and length < LARGEST_TEXT:
                info |= _orientation_in(kind, content[at + HEADER.size : end - CHECKSUM.size])
        if not keep:
            kept.append(view[run:at])
            run = end
        at = end
    if content[at + 4 : at + 8] == b"IDAT":
        raise OSError("image file is truncated within its IDAT chunk")  # and cannot be compared with its checksum
    if not has_data:
        return Bare(content, info)  # its header is cut short, or it is no PNG
    return Bare(b"".join([*kept, view[run:at], END]), info)


def _orientation_in(kind: bytes, body: bytes) -> dict[str, str | bytes]:
    """What an ancillary chunk may say of the orientation: EXIF, or EXIF or XMP as a text."""
    if kind == b"eXIf":
        return {"exif": body}
    key, _, text = body.partition(b"\0")
    if kind == b"tEXt" and key == b"exif":
        return {"exif": text}
    if kind in (b"tEXt", b"zTXt") and key == EXIF_PROFILE.encode():
        return {EXIF_PROFILE: (_inflated(text[1:]) if kind == b"zTXt" else text).decode("latin-1")}
    if kind == b"iTXt" and key == XMP_KEY:
        compressed, text = text[:1] != b"\0", text[2:]
        text = text.split(b"\0", 2)[-1]
        return {"xmp": _inflated(text) if compressed else text}
    return {}


def _inflated(data: bytes) -> bytes:
    """The beginning of compressed data; nothing where it is damaged."""
    try:
        return zlib.decompressobj().decompress(data, LARGEST_TEXT)
    except zlib.error:
        return b""
