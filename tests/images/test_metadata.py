"""Metadata changes no pixel: whatever a file says beside its picture, and however damaged that is, the picture counts.

Tests of damage to the pictures themselves stand at the end, and in test_pixels.
"""

import resource
import zlib
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
import pytest
from PIL import Image

from formwork.images.pixels import read_rgb
from tests.images.odd_files import (
    ASCII,
    BYTE,
    LONG,
    ON_ITS_SIDE,
    RESOLUTION_UNIT,
    SHORT,
    UNREADABLE,
    X_RESOLUTION,
    check,
    chunk,
    exif,
    exif_segment,
    gradient,
    riff,
    riff_chunks,
    segment,
    stored,
    vp8x,
    with_chunks,
    with_segments,
    written,
    xmp,
)

IMAGE = gradient()
PIXELS = np.asarray(IMAGE)
JPEG, PNG, WEBP = (written(IMAGE, kind) for kind in ("JPEG", "PNG", "WEBP"))
NOISE = np.random.default_rng(0).bytes(2_000_000)


@cache
def bomb() -> bytes:
    """100 MB of zeros."""
    return zlib.compress(bytes(100_000_000), 9)


# --- JPEG ---------------------------------------------------------------------------------------

SEGMENTS = {
    "JFIF cut short": segment(0xE0, b"JFIF\0"),
    "JFIF of no density": segment(0xE0, b"JFIF\0\1\2\1\0\0\0\0\0\0"),
    "JFIF with a thumbnail": segment(0xE0, b"JFIF\0\1\2\1\0\1\0\1\4\4" + bytes(48)),
    "JFXX with a thumbnail": segment(0xE0, b"JFXX\0\x10" + JPEG),
    "Adobe cut short": segment(0xEE, b"Adobe"),
    "a profile of nothing": segment(0xE2, b"ICC_PROFILE\0"),
    "a profile of junk": segment(0xE2, b"ICC_PROFILE\0\1\1junk"),
    "a profile with parts missing": segment(0xE2, b"ICC_PROFILE\0\1\5junk"),
    "pictures of junk": segment(0xE2, b"MPF\0junk"),
    "pictures of types mixed up": segment(0xE2, b"MPF\0" + exif((0xB001, ASCII, 1, 2), (0xB002, ASCII, 32, 8))),
    "pictures that are not there": segment(0xE2, b"MPF\0" + exif((0xB001, LONG, 1, 2), (0xB002, 7, 32, 8))),
    "Photoshop cut short": segment(0xED, b"Photoshop 3.0\x008BIM\3\xed\xff"),
    "a comment with markers": segment(0xFE, b"\xff\xd9\xff\xda"),
    "empty segments": segment(0xE1, b"") + segment(0xFE, b"") + exif_segment(b""),
    "XMP of junk": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe<<<"),
    "much EXIF": exif_segment(exif((RESOLUTION_UNIT, BYTE, 1, 2))) * 20,
    "much of anything": b"".join(segment(0xE3 + i % 9, NOISE[:65533]) for i in range(50)),
    "fill bytes": b"\xff" * 17,
    "needless bytes": b"junk",
}


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("what", SEGMENTS)
def test_segments_of_a_jpeg_change_nothing(what: str, mode: str) -> None:
    plain = written(IMAGE.convert(mode), "JPEG")
    for place in (b"", b"\xff\xdb", b"\xff\xda"):
        check(with_segments(plain, SEGMENTS[what], before=place), stored(plain))
        turned = with_segments(plain, SEGMENTS[what], exif_segment(exif(ON_ITS_SIDE)), before=place)
        check(turned, stored(plain), UNREADABLE if what in ("much EXIF", "empty segments") else 6)


APPENDED = {
    "text": b"appended",
    "zeros": bytes(1000),
    "0xFF": b"\xff" * 99,
    "another end": b"\xff\xd9",
    "another JPEG": JPEG,
    "an archive": b"PK\3\4" + NOISE[:1000],
    "a film": b"\0\0\0\x18ftypmp42" + NOISE[:10000],
}


@pytest.mark.parametrize("what", APPENDED)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_what_follows_an_image_changes_nothing(kind: str, what: str) -> None:
    content = written(IMAGE, kind)

    check(content + APPENDED[what], np.asarray(read_rgb(content)))


# --- PNG ----------------------------------------------------------------------------------------

PROFILE = f"\nexif\n{len(exif(ON_ITS_SIDE)):8}\n{exif(ON_ITS_SIDE).hex()}\n".encode()  # ImageMagick's form
XMP_TEXT = b"XML:com.adobe.xmp\0"
CHUNKS: dict[str, Callable[[], bytes]] = {
    "a large profile": lambda: chunk(b"iCCP", b"icc\0\0" + zlib.compress(NOISE)),
    "a profile that grows": lambda: chunk(b"iCCP", b"icc\0\0" + bomb()),
    "a profile of an unknown compression": lambda: chunk(b"iCCP", b"icc\0\7junk"),
    "an empty profile": lambda: chunk(b"iCCP", b""),
    "a large text": lambda: chunk(b"tEXt", b"Comment\0" + b"x" * 80_000_000),
    "a large compressed text": lambda: chunk(b"zTXt", b"Comment\0\0" + zlib.compress(NOISE)),
    "a text that grows": lambda: chunk(b"zTXt", b"Comment\0\0" + bomb()),
    "an international text that grows": lambda: chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb()),
    "EXIF as a text that grows": lambda: chunk(b"zTXt", b"Raw profile type exif\0\0" + bomb()),
    "XMP that grows": lambda: chunk(b"iTXt", XMP_TEXT + b"\1\0\0\0" + bomb()),
    "EXIF as a text of anything": lambda: chunk(b"tEXt", b"Raw profile type exif\0no\n\n\nhex \xff"),
    "texts called as Pillow calls what it finds": lambda: b"".join(
        chunk(b"tEXt", name + b"\0text")
        for name in (b"transparency", b"bbox", b"interlace", b"exif", b"default_image", b"blend", b"gamma", b"")
    ),
    "chunks that are too short": lambda: b"".join(
        chunk(name, b"") for name in (b"gAMA", b"pHYs", b"cHRM", b"sRGB", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"zTXt")
    ),
    "unknown chunks": lambda: chunk(b"abCd", NOISE) + chunk(b"vpAg", b""),
    "frames without an animation": lambda: chunk(b"fcTL", bytes(26)) + chunk(b"fdAT", bytes(9)),
    "an animation of no frames": lambda: chunk(b"acTL", bytes(8)),
    **{
        f"damage to {name.decode()}": (lambda name=name: chunk(name, b"Comment\0\0" + bytes(40), damaged=True))
        for name in (
            *(b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"tIME", b"pHYs", b"gAMA", b"cHRM", b"sRGB", b"eXIf", b"sBIT"),
            *(b"bKGD", b"hIST", b"sPLT", b"acTL", b"fcTL", b"abCd"),
        )
    },
}


@pytest.mark.parametrize("what", CHUNKS)
def test_chunks_of_a_png_change_nothing(what: str) -> None:
    odd = CHUNKS[what]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    for place in (b"IDAT", b"IEND"):
        check(with_chunks(PNG, odd, before=place), PIXELS)
        turned = with_chunks(PNG, odd, chunk(b"iTXt", XMP_TEXT + b"\0\0\0\0" + xmp(6)), before=place)
        check(turned, PIXELS, UNREADABLE if "XMP" in what else 6)
    check(PNG + odd, PIXELS)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024  # bytes
    assert grown < 150e6 + 3 * len(odd)


@pytest.mark.parametrize(
    "text",
    [
        chunk(b"iTXt", XMP_TEXT + b"\0\0\0\0" + xmp(6)),
        chunk(b"iTXt", XMP_TEXT + b"\1\0\0\0" + zlib.compress(xmp(6) + NOISE)),
        chunk(b"tEXt", b"Raw profile type exif\0" + PROFILE),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE)),
        chunk(b"eXIf", b"junk", damaged=True) + chunk(b"eXIf", exif(ON_ITS_SIDE)),
    ],
)
def test_a_png_is_turned_by_texts_too(text: bytes) -> None:
    check(with_chunks(PNG, text), PIXELS, 6)
    check(with_chunks(PNG, text, before=b"IEND"), PIXELS, 6)


def test_a_png_needs_nothing_after_its_pixels() -> None:
    for end in (b"", b"\0\0", PNG[-12:-5], PNG[-12:-1] + b"x", b"junk", chunk(b"tEXt", b"a\0b", length=3000)):
        check(PNG[:-12] + end, PIXELS)


# --- Other formats ------------------------------------------------------------------------------


def test_chunks_of_a_webp_change_nothing() -> None:
    clear = IMAGE.copy()
    clear.putalpha(Image.linear_gradient("L").resize(IMAGE.size))
    for image, options in ((IMAGE, {}), (IMAGE, {"lossless": True}), (clear, {}), (clear, {"lossless": True})):
        plain = written(image, "WEBP", **options)
        expected, chunks = np.asarray(read_rgb(plain)), riff_chunks(plain)
        picture = [(kind, body) for kind, body in chunks if kind != b"VP8X"]
        flags = 0x10 if image is clear else 0
        header = vp8x(flags | 0x2C)  # announces a profile, EXIF and XMP
        check(riff(header, *picture), expected)
        check(riff(header, (b"ICCP", b""), *picture, (b"EXIF", b""), (b"XMP ", b"\xff"), (b"abcd", b"?")), expected)
        check(riff(header, *picture, (b"EXIF", exif(ON_ITS_SIDE)))[:-4], expected, UNREADABLE)  # cut within EXIF
        check(riff(header, *picture, (b"EXIF", exif(ON_ITS_SIDE)), size=30), expected, UNREADABLE)
        for size in (0, len(plain) - 20, len(plain) + 1000, 0xFFFFFFFF):
            check(riff(*chunks, size=size), expected)
        with pytest.raises(OSError, match=r"could not create decoder|cannot identify"):
            read_rgb(riff(header, *picture)[:-30])


@pytest.mark.parametrize(
    "extension",
    [
        b"!\xfe\5hello\0",
        b"!\xfe" + (b"\xff" + b"x" * 255) * 2000 + b"\0",
        b"!\xfe\0",
        b"!\xff\0",
        b"!\xff\x0bNETSCAPE2.0\0",
        b"!\xff\x0bNETSCAPE2.0\1\1\0",
        b"!\xff\x0bXMP DataXMP\5hello\0",
        b"!\xf9\1\0\0",
        b"!\x01\0",
        b"!\x77\2ab\0",
    ],
)
def test_extensions_of_a_gif_change_nothing(extension: bytes) -> None:
    gif = written(IMAGE.convert("P"), "GIF")
    picture = gif.index(b",", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    expected = np.asarray(read_rgb(gif))

    check(gif[:picture] + extension + gif[picture:], expected)
    check(gif[:-1] + extension + gif[-1:], expected)
    check(gif[:-1], expected)


@pytest.mark.parametrize("place", [2, 6, 34, 38, 42, 46, 50])
@pytest.mark.parametrize("value", [b"\0" * 4, b"\xff" * 4, b"\0\0\0\x80", b"\5\0\0\0"])
def test_numbers_of_a_bmp_that_say_nothing_of_its_pixels(place: int, value: bytes) -> None:
    """Sizes of file and picture, resolution, numbers of colours."""
    bmp = written(IMAGE, "BMP")

    check(bmp[:place] + value + bmp[place + 4 :], PIXELS)


def test_exif_of_an_avif_changes_nothing() -> None:
    avif = written(IMAGE, "AVIF", exif=b"Exif\0\0" + exif((RESOLUTION_UNIT, SHORT, 1, 2)) + bytes(40))
    at = avif.index(b"II*\0", avif.index(b"mdat"))
    for data in (b"junkjunkjunk", b"II*\0\xff\xff\xff\x7f", b"II*\0\x08\0\0\0\1\0\x28\1\x0c\0\1"):
        check(avif[:at] + data + avif[at + len(data) :], stored(avif))


# --- And damage stays damage --------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "P", "L"])
def test_damage_to_the_pixels_of_a_png_is_found(mode: str) -> None:
    """Pillow itself compares no checksum of IDAT, and takes one changed bit in twenty for other pixels."""
    png = written(IMAGE.convert(mode), "PNG")
    refused = 0
    for at in range(8, len(png) - 12):
        for bit in range(8):
            changed = bytearray(png)
            changed[at] ^= 1 << bit
            try:
                read_rgb(bytes(changed))
            except OSError:
                refused += 1
    assert refused == 8 * (len(png) - 20)


@pytest.mark.parametrize("end", [b"", PNG[-12:]])
def test_a_png_cut_short_within_its_pixels_is_damaged(end: bytes) -> None:
    """Also where all of the pixels are there, and only the checksum is not: they cannot be compared with it."""
    for length in range(8, len(PNG) - 12):
        with pytest.raises(OSError, match=r"\w"):
            read_rgb(PNG[:length] + end)


def test_a_transparent_colour_that_is_damaged_is_damage() -> None:
    with pytest.raises(OSError, match="the checksum of its tRNS chunk is wrong"):
        read_rgb(with_chunks(PNG, chunk(b"tRNS", bytes(6), damaged=True)))


@pytest.mark.parametrize(
    "what", [b"", SEGMENTS["a profile of nothing"], exif_segment(exif((X_RESOLUTION, ASCII, 1, 0)))]
)
def test_a_jpeg_cut_short_is_damaged_whatever_its_metadata(what: bytes) -> None:
    content = with_segments(JPEG, what)
    for length in (*range(2, len(content) - 2, 7), len(content) - 2):
        with pytest.raises(OSError, match=r"."):
            read_rgb(content[:length])


def test_opencv_reads_what_a_png_with_damaged_metadata_holds() -> None:
    """The reference: libpng, which warns and goes on."""
    content = with_chunks(PNG, CHUNKS["damage to tEXt"](), CHUNKS["damage to iCCP"]())

    assert np.array_equal(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB), PIXELS)
