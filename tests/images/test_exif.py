"""EXIF turns an image or means nothing, however it is damaged, and so do the other tags of a TIFF."""

import struct
from collections.abc import Iterator

import numpy as np
import pytest

from formwork.images.pixels import UndefinedPixels, read_rgb
from tests.images.odd_files import (
    ASCII,
    BYTE,
    DOUBLE,
    EXIF_DIRECTORY,
    LONG,
    MAKE,
    ON_ITS_SIDE,
    ORIENTATION,
    RATIONAL,
    RESOLUTION_UNIT,
    SBYTE,
    SHORT,
    SLONG,
    SSHORT,
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
    with_tags,
    written,
    xmp,
)

TYPES = range(20)  # of EXIF: 1 to 13, 16 to 18; the others are none
IMAGE = gradient()
PIXELS = np.asarray(IMAGE)
JPEG, PNG, WEBP = (written(IMAGE, kind) for kind in ("JPEG", "PNG", "WEBP"))


def exif_data(order: str) -> Iterator[tuple[str, bytes, int | None]]:
    """What it is, the data, and the orientation that is to be used."""

    def data(*entries: tuple[int, int, int, int | bytes], **options: int) -> bytes:
        return exif(*entries, order=order, **options)

    for kind in (BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG):
        yield f"orientation of type {kind}", data((ORIENTATION, kind, 1, 6)), 6
        yield f"orientation 9 of type {kind}", data((ORIENTATION, kind, 1, 9)), 1
    for value in (0, 255, 65535):
        yield f"orientation {value}", data((ORIENTATION, SHORT, 1, value)), 1
    yield "orientation as text", data((ORIENTATION, ASCII, 2, b"6\0\0\0")), UNREADABLE
    yield "orientation as a fraction", data((ORIENTATION, RATIONAL, 1, 8)), UNREADABLE
    yield "two orientations", data((ORIENTATION, SHORT, 2, struct.pack(f"{order}HH", 6, 6))), UNREADABLE
    yield "thousands of orientations", data((ORIENTATION, SHORT, 0xFFFFFFFF, 8)), 1
    yield "orientation twice", data(ON_ITS_SIDE, ON_ITS_SIDE), 6
    yield (
        "types that a phone mixes up",
        data((MAKE, RATIONAL, 1, 0), ON_ITS_SIDE, (X_RESOLUTION, ASCII, 4, b"72\0\0"), (RESOLUTION_UNIT, BYTE, 1, 2)),
        6,
    )
    for kind in TYPES:
        for tag in (MAKE, X_RESOLUTION, RESOLUTION_UNIT, EXIF_DIRECTORY):
            for values, value in ((0, 0), (1, 2), (3, 0xFFFFFFF0), (0xFFFFFFFF, 0)):
                entries = sorted([(tag, kind, values, struct.pack(f"{order}I", value)), ON_ITS_SIDE])
                yield f"tag {tag} of type {kind}, {values} values at {value}", data(*entries), 6
    yield "a directory within itself", data(ON_ITS_SIDE, (EXIF_DIRECTORY, LONG, 1, 8)), 6
    yield "directories in a circle", data(ON_ITS_SIDE, following=8), 6
    yield "the next directory outside", data(ON_ITS_SIDE, following=0xFFFFFFF0), 6
    yield "more entries than there are", data(ON_ITS_SIDE, count=60_000), 6
    yield "cut short after it", data(ON_ITS_SIDE, (X_RESOLUTION, DOUBLE, 1, 8))[:-8], 6
    yield "cut short before it", data((MAKE, SHORT, 1, 6), ON_ITS_SIDE)[:24], 1
    yield "directory outside", data(ON_ITS_SIDE, place=5000), 1
    yield "another version", data(ON_ITS_SIDE, version=7), UNREADABLE
    for length in (0, 1, 5, 8, 9):
        yield f"{length} bytes", data()[:length], 1


EXIF = {
    f"{order} {what}": (data, orientation)
    for order in "<>"
    for what, data, orientation in [*exif_data(order), ("junk", b"this is no EXIF", 1), ("zeros", bytes(60), 1)]
}


@pytest.mark.parametrize("what", EXIF)
def test_exif_turns_an_image_or_means_nothing(what: str) -> None:
    data, orientation = EXIF[what]

    check(with_segments(JPEG, exif_segment(data)), stored(JPEG), orientation)
    check(with_chunks(PNG, chunk(b"eXIf", data)), PIXELS, orientation)
    check(with_chunks(PNG, chunk(b"eXIf", data), before=b"IEND"), PIXELS, orientation)
    webp = riff(vp8x(8), *riff_chunks(WEBP), (b"EXIF", data))
    check(webp, stored(WEBP), orientation)


@pytest.mark.parametrize("order", "<>")
def test_exif_comes_before_xmp_where_it_can_be_read(order: str) -> None:
    says_6 = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6))
    for data, expected in (((ORIENTATION, SHORT, 1, 3), 3), ((ORIENTATION, ASCII, 1, b"3\0\0\0"), 6)):
        content = with_segments(JPEG, says_6, exif_segment(exif(data, order=order)))
        check(content, stored(JPEG), expected)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_tags_of_a_tiff_that_say_nothing_of_its_pixels(compression: str | None) -> None:
    tiff = written(IMAGE, "TIFF", compression=compression)
    pixels = stored(tiff)
    for kind in (BYTE, SHORT, LONG, SBYTE, SSHORT, SLONG):
        check(with_tags(tiff, (ORIENTATION, kind, 1, 6)), pixels, 6)
        odd = ((MAKE, RATIONAL, 1, 0), (X_RESOLUTION, ASCII, 4, b"72\0\0"), (RESOLUTION_UNIT, BYTE, 1, 2))
        check(with_tags(tiff, (ORIENTATION, kind, 1, 6), *odd), pixels, 6)
    for kind in TYPES:
        for tag in (MAKE, X_RESOLUTION, RESOLUTION_UNIT, EXIF_DIRECTORY, 306, 700, 34675, 34853, 65000):
            for values, value in ((0, 2), (1, 2), (0x7FFFFFFF, 0xFFFFFF00)):
                check(with_tags(tiff, (tag, kind, values, struct.pack("<I", value))), pixels)
    check(tiff + b"appended", pixels)
    (place,) = struct.unpack_from("<I", tiff, 4)
    end = place + 2 + 12 * struct.unpack_from("<H", tiff, place)[0]
    for following in (place, 1 << 30, len(tiff) - 6):
        check(tiff[:end] + struct.pack("<I", following) + tiff[end + 4 :], pixels)


def test_a_tiff_of_two_pages_and_odd_tags_has_two_pages() -> None:
    tiff = written(IMAGE, "TIFF", save_all=True, append_images=[IMAGE])
    odd = tiff.replace(struct.pack("<HHI", 262, 3, 1), struct.pack("<HHI", 262, 3, 1))
    with pytest.raises(UndefinedPixels, match="2 frames or pages"):
        read_rgb(odd)
