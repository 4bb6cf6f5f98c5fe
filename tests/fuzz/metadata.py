"""Odd and damaged metadata of JPEG, PNG and WebP files, and damage anywhere, read as the pipeline reads its images."""

import struct
import zlib

import numpy as np

from formwork.images.pixels import read_rgb
from tests.images import odd_files
from tests.make_images import UPRIGHT

IMAGE = odd_files.gradient()
SOUND = {
    "JPEG": odd_files.written(IMAGE, "JPEG"),
    "progressive JPEG": odd_files.written(IMAGE, "JPEG", progressive=True),
    "PNG": odd_files.written(IMAGE, "PNG"),
    "grey PNG": odd_files.written(IMAGE.convert("L"), "PNG"),
    "WEBP": odd_files.written(IMAGE, "WEBP", lossless=True),
}
PIXELS = {kind: np.asarray(read_rgb(content)) for kind, content in SOUND.items()}
CHUNKS = ["tEXt", "zTXt", "iTXt", "iCCP", "eXIf", "gAMA", "pHYs", "cHRM", "sRGB", "tIME", "bKGD", "fcTL", "abCd"]
CHUNK_STARTS = (b"", b"Comment\0\0", b"XML:com.adobe.xmp\0\1\0\0\0", b"Raw profile type exif\0\0", b"icc\0\0")
SEGMENT_STARTS = (b"", b"JFIF\0", b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0", b"Photoshop 3.0\x008BIM", b"FPXR\0")
MARKERS = (*range(0xE0, 0xEE), 0xEF, 0xFE)  # none of Adobe, which says what colours mean


def odd_metadata(rng: np.random.Generator) -> str:
    """Metadata of random content and damage, in a file whose picture is sound."""
    kind = str(rng.choice(list(SOUND)))
    content = SOUND[kind]
    exif = _exif(rng)
    if kind == "WEBP":
        extra = [(kind, rng.bytes(int(rng.integers(40)))) for kind in (b"ICCP", b"XMP ", b"abcd") if rng.random() < 0.5]
        picture = odd_files.riff_chunks(content)
        changed = odd_files.riff(odd_files.vp8x(int(rng.integers(64)) & 0x2C), *picture, (b"EXIF", exif), *extra)
    elif kind.endswith("PNG"):
        chunks = [odd_files.chunk(b"eXIf", exif, damaged=bool(rng.random() < 0.2))]
        for _ in range(rng.integers(4)):
            body = CHUNK_STARTS[rng.integers(len(CHUNK_STARTS))]
            body += zlib.compress(rng.bytes(30)) if rng.random() < 0.5 else rng.bytes(int(rng.integers(40)))
            chunks.append(odd_files.chunk(str(rng.choice(CHUNKS)).encode(), body, damaged=bool(rng.random() < 0.3)))
        changed = odd_files.with_chunks(content, *chunks, before=b"IDAT" if rng.random() < 0.7 else b"IEND")
    else:
        segments = [odd_files.exif_segment(exif)]
        for _ in range(rng.integers(4)):
            body = SEGMENT_STARTS[rng.integers(len(SEGMENT_STARTS))] + rng.bytes(int(rng.integers(60)))
            segments.append(odd_files.segment(MARKERS[rng.integers(len(MARKERS))], body))
        changed = odd_files.with_segments(content, *segments, before=b"\xff\xdb" if rng.random() < 0.5 else b"")
    changed += rng.bytes(int(rng.integers(100))) if rng.random() < 0.3 else b""
    found = np.asarray(read_rgb(changed))
    if not any(np.array_equal(found, turn(PIXELS[kind])) for turn in UPRIGHT.values()):
        raise AssertionError(f"metadata changes pixels of a {kind}")
    return "metadata: the same pixels"


def _exif(rng: np.random.Generator) -> bytes:
    """Directories of known and unknown tags of any type, with places and counts that may lie anywhere; some damaged."""
    order = str(rng.choice(["<", ">"]))
    entries = []
    for _ in range(rng.integers(7)):
        tag = int(rng.choice([0x10F, 0x112, 0x11A, 0x128, 0x132, 0x8769, 0x8825, 0xA005, rng.integers(65536)]))
        count = int(rng.choice([0, 1, 2, 8, 0xFFFFFFFF, rng.integers(1 << 32)]))
        value = struct.pack(f"{order}I", int(rng.choice([0, 1, 6, 8, 0xFFFFFFF0, rng.integers(1 << 32)])))
        entries.append((tag, int(rng.integers(20)), count, value))
    following = int(rng.choice([0, 8, 0xFFFFFFF0]))
    data = bytearray(odd_files.exif(*entries, order=order, following=following) + rng.bytes(20))
    for _ in range(rng.integers(3)):
        data[rng.integers(len(data))] = rng.integers(256)
    return bytes(data[: rng.integers(len(data) + 1)] if rng.random() < 0.2 else data)


def damage_anywhere(rng: np.random.Generator) -> str:
    """Bits flipped, bytes set, pieces cut out and off: of a PNG, what is read has the pixels that were written."""
    kind = str(rng.choice(list(SOUND)))
    changed = bytearray(SOUND[kind])
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(max(len(changed), 1)))
        match rng.integers(4):
            case 0:
                changed[at : at + 1] = bytes(byte ^ 1 << int(rng.integers(8)) for byte in changed[at : at + 1])
            case 1:
                changed[at : at + 1] = rng.bytes(1)
            case 2:
                del changed[at : at + int(rng.integers(1, 20))]
            case 3:
                del changed[max(at, 1) :]
    try:
        found = np.asarray(read_rgb(bytes(changed)))
    except OSError:
        return "damage: refused"
    if "PNG" in kind and not np.array_equal(found, PIXELS[kind]):
        raise AssertionError(f"a damaged {kind} is read as other pixels")
    return "damage: read"
