"""Which JPEG files may stand in a beton as they are: exactly those that every decoder turns into the same image."""

import io
import random
import struct

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from formwork.conversion.passthrough import PLAIN_SAMPLING, plain_size, without_appendix
from formwork.images.pixels import read_rgb
from formwork.kernels import libjpeg
from tests.images import odd_files
from tests.make_images import photo

FACTORS = {"4:4:4": "444", "4:2:2": "422", "4:2:0": "420", "4:4:0": "440", "4:1:1": "411"}
IMAGE = photo(np.random.default_rng(0), 45, 31)
PIXELS = np.asarray(IMAGE)


def cv2_jpeg(*options: int, pixels: np.ndarray = PIXELS) -> bytes:
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def jpeg(image: Image.Image = IMAGE, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def sampled(name: str, progressive: bool = False) -> bytes:
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{FACTORS[name]}")
    return cv2_jpeg(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))


def with_segment(content: bytes, marker: int, body: bytes) -> bytes:
    """With a segment more, right after the start of the image."""
    return content[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + content[2:]


def with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return jpeg(exif=exif)


def with_xmp(orientation: int) -> bytes:
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
        "</rdf:RDF></x:xmpmeta>"
    )
    return with_segment(jpeg(), 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet.encode())


def adobe_rgb() -> bytes:
    """Three components that are red, green and blue: an Adobe segment with transform 0."""
    return jpeg(keep_rgb=True)


def change_frame(content: bytes, offset: int, value: int) -> bytes:
    """Set a byte of the body of the frame header: precision, height, width, components, ..."""
    changed = bytearray(content)
    changed[content.index(b"\xff\xc0") + 4 + offset] = value
    return bytes(changed)


# --- Plain --------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("sampling", PLAIN_SAMPLING.values())
def test_every_plain_sampling_is_decoded_alike(sampling: str, progressive: bool) -> None:
    """By Pillow, whose libjpeg is its own, and by the libturbojpeg that the loader decodes with."""
    rng = np.random.default_rng(0)
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{FACTORS[sampling]}")
    for width, height in [(45, 31), (1, 1), (8, 8), (16, 17), (3, 200), (200, 3), (33, 64)]:
        options = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))
        content = cv2_jpeg(*options, pixels=np.asarray(photo(rng, width, height)))

        assert plain_size(content) == (width, height)
        with Image.open(io.BytesIO(content)) as image:
            assert np.array_equal(libjpeg.decode(content, width, height), np.asarray(image))


@pytest.mark.parametrize(
    "content",
    [
        jpeg(),
        jpeg(quality=100, subsampling=0),
        jpeg(progressive=True),
        jpeg(optimize=True),
        jpeg(comment=b"\xff\xe1 is no segment in a comment"),
        jpeg(icc_profile=b"profile" * 20_000),  # several segments
        with_exif(1),
        with_xmp(1),
        with_segment(jpeg(), 0xE1, b"neither EXIF nor XMP"),
        jpeg()[:2] + b"\xff" * 5 + jpeg()[2:],  # fill bytes may stand before a marker
        cv2_jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
        jpeg() + b"anything",
    ],
)
def test_what_changes_no_pixel_is_plain(content: bytes) -> None:
    assert plain_size(content) == (45, 31)


# --- Not plain ----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("write", [with_exif, with_xmp])
def test_what_is_turned_or_mirrored_is_not_plain(write, orientation: int) -> None:
    assert plain_size(write(orientation)) is None


@pytest.mark.parametrize("orientation", [0, 9, 200])
def test_an_orientation_without_a_meaning_turns_nothing(orientation: int) -> None:
    assert plain_size(with_exif(orientation)) == (45, 31)


def test_an_orientation_after_the_frame_header_counts() -> None:
    content = with_exif(6)
    start = content.index(b"\xff\xe1")
    end = start + 2 + struct.unpack_from(">H", content, start + 2)[0]
    without = content[:start] + content[end:]
    scan = without.index(b"\xff\xda")
    moved = without[:scan] + content[start:end] + without[scan:]
    with Image.open(io.BytesIO(moved)) as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 6

    assert plain_size(moved) is None


@pytest.mark.parametrize(
    "content",
    [
        jpeg(IMAGE.convert("L")),
        jpeg(IMAGE.convert("CMYK")),
        change_frame(jpeg(), 0, 12),  # bits
        change_frame(jpeg(), 7, 0x31),  # sampling
        change_frame(jpeg(), 7, 0x24),
        change_frame(jpeg(), 10, 0x21),
        change_frame(jpeg(), 13, 0x12),
        jpeg().replace(b"\xff\xc0", b"\xff\xc9"),  # arithmetic coding
        jpeg().replace(b"\xff\xc0", b"\xff\xc3"),  # lossless
        change_frame(change_frame(jpeg(), 3, 0), 4, 0),  # no width
        change_frame(change_frame(jpeg(), 1, 0), 2, 0),  # no height: it comes after the scan
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        jpeg()[2:],
        bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
    ],
)
def test_what_is_not_plain(content: bytes) -> None:
    assert plain_size(content) is None


def test_a_file_of_red_green_and_blue_is_plain_as_its_decoders_agree() -> None:
    content = adobe_rgb()
    assert b"Adobe" in content
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image)

    assert plain_size(content) == (45, 31)
    assert np.array_equal(libjpeg.decode(content, 45, 31), expected)


# --- What is appended ---------------------------------------------------------------------------

APPENDED = {
    "text": b"appended",
    "zeros": bytes(1000),
    "another end": b"\xff\xd9",
    "another JPEG": jpeg(progressive=True),
    "an archive": b"PK\3\4" + random.Random(0).randbytes(1000) + b"\xff\xd9",
    "a film": b"\0\0\0\x18ftypmp42" + random.Random(1).randbytes(5000),
}
THUMBNAIL = b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0" + jpeg(IMAGE.resize((8, 8)))


@pytest.mark.parametrize("what", APPENDED)
@pytest.mark.parametrize(
    "content",
    [
        jpeg(),
        jpeg(progressive=True, optimize=True),
        sampled("4:1:1", progressive=True),
        cv2_jpeg(cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        with_segment(jpeg(progressive=True), 0xE1, THUMBNAIL),
        with_segment(jpeg(), 0xFE, b"\xff\xd9\xff\xda\xff\xd9"),
        jpeg(progressive=True).replace(b"\xff\xda", b"\xff\xfe\0\6\xff\xd9\xff\xda\xff\xda", 3),  # a comment each
        jpeg()[:-2] + b"\xff\xff\xff\xd9",
    ],
    ids=["plain", "progressive", "4:1:1", "restarts", "thumbnail", "comment", "comments within", "fill bytes"],
)
def test_a_jpeg_ends_where_its_picture_does(content: bytes, what: str) -> None:
    assert without_appendix(content) == content
    assert without_appendix(content + APPENDED[what]) == content
    assert np.array_equal(read_rgb(content), read_rgb(content + APPENDED[what]))


def test_the_other_pictures_of_a_phone_are_left_out() -> None:
    buffer = io.BytesIO()
    IMAGE.save(buffer, "MPO", save_all=True, append_images=[IMAGE.transpose(Image.Transpose.ROTATE_180)])
    content = buffer.getvalue()
    first = without_appendix(content)

    assert len(first) < 0.6 * len(content)
    assert first.endswith(b"\xff\xd9")
    assert np.array_equal(read_rgb(first), read_rgb(content))


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", jpeg()[:-2], jpeg()[:200], b"\xff\xd8\xff\xd9text", b"no JPEG"])
def test_where_no_end_is_found_nothing_is_left_out(content: bytes) -> None:
    assert without_appendix(content) == content


@pytest.mark.parametrize("kind", [1, 3, 4, 6, 8, 9])
def test_an_orientation_of_any_type_counts(kind: int) -> None:
    """Among tags of types that they should not have, which Pillow refuses."""
    odd = (odd_files.MAKE, odd_files.RATIONAL, 1, 0), (odd_files.X_RESOLUTION, odd_files.ASCII, 1, 0)
    for orientation in (1, 6):
        exif = odd_files.exif(*odd, (odd_files.ORIENTATION, kind, 1, orientation), order=">")
        content = odd_files.with_segments(jpeg(), odd_files.exif_segment(exif))

        assert plain_size(content) == ((45, 31) if orientation == 1 else None)
        assert read_rgb(content).size == ((45, 31) if orientation == 1 else (31, 45))


# --- Anything -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [jpeg(), with_exif(6), with_xmp(6), jpeg(icc_profile=b"profile" * 10)])
def test_a_header_cut_short_anywhere_is_not_plain(content: bytes) -> None:
    """Until the frame header is whole; and never an exception."""
    frame = content.index(b"\xff\xc0")
    end = frame + 2 + struct.unpack_from(">H", content, frame + 2)[0]

    assert all(plain_size(content[:length]) is None for length in range(end))
    for length in range(end, len(content), 7):
        assert plain_size(content[:length]) == plain_size(content)


@pytest.mark.parametrize("start", [b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\x00\x20Exif\0\0", jpeg()[:20]])
def test_random_bytes_are_not_plain(start: bytes) -> None:
    rng = random.Random(0)

    assert all(plain_size(start + rng.randbytes(rng.randrange(400))) is None for _ in range(3000))


@pytest.mark.parametrize("content", [jpeg(), with_exif(6), with_xmp(6), sampled("4:1:1", progressive=True)])
def test_changed_bytes_raise_nothing(content: bytes) -> None:
    """What is still called plain, and decoded without a warning, has the pixels that the dataset was linked with."""
    rng = random.Random(0)
    scan = content.index(b"\xff\xda")
    compared = 0
    for _ in range(1500):
        changed = bytearray(content)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.randrange(scan)] = rng.randrange(256)
        size = plain_size(bytes(changed))
        if size is None or size[0] * size[1] > 10**6:
            continue
        pixels = libjpeg.decode(bytes(changed), *size)
        if pixels is None:
            continue
        try:
            expected = read_rgb(io.BytesIO(changed))
        except OSError:  # then it is in no manifest
            continue
        assert np.array_equal(pixels, np.asarray(expected))
        compared += 1
    assert compared > 20
