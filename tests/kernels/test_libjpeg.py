"""libturbojpeg, simplejpeg and Pillow, of which the first that is there is used, give the same pixels, files and
verdicts."""

import io
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
from PIL import Image

from formwork.kernels import libjpeg
from tests import limits
from tests.make_images import noise, photo

SUBSAMPLINGS = list(libjpeg.SUBSAMPLINGS)
SIZES = [(1, 1), (8, 8), (17, 31), (16, 16), (200, 3), (3, 200), (123, 77), (260, 190)]
"""(width, height)"""
DECODERS = {
    "libturbojpeg": libjpeg._decode_by_library,
    "simplejpeg": libjpeg._decode_by_simplejpeg,
    "Pillow": libjpeg._decode_by_pillow,
}
ENCODERS = {"libturbojpeg": libjpeg._encode_by_library, "Pillow": libjpeg._encode_by_pillow}
SAMPLINGS = {name: getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}") for name in ("444", "422", "420", "440", "411")}


def pillow_encode(image: Image.Image, quality: int, subsampling: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=":".join(str(subsampling)))
    return buffer.getvalue()


def pillow_decode(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def test_libturbojpeg_is_there() -> None:
    assert libjpeg.library() is not None


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [1, 30, 75, 90, 95, 100])
@pytest.mark.parametrize("content", [noise, photo])
def test_files_and_pixels_are_pillows(name: str, subsampling: int, quality: int, content: Callable) -> None:
    rng = np.random.default_rng(0)
    for width, height in SIZES:
        image = content(rng, width, height)
        jpeg = ENCODERS[name](np.array(image), quality, subsampling)

        assert jpeg == pillow_encode(image, quality, subsampling)
        for decode in DECODERS.values():
            assert np.array_equal(decode(jpeg, width, height).pixels, pillow_decode(jpeg))
            larger = np.empty(3 * width * height + 5, np.uint8)
            assert np.array_equal(decode(jpeg, width, height, larger).pixels, pillow_decode(jpeg))


def test_quality_and_subsampling_matter() -> None:
    pixels = np.array(photo(np.random.default_rng(0), 64, 64))

    files = {libjpeg.encode(pixels, quality, name) for quality in (30, 90) for name in SUBSAMPLINGS}

    assert len(files) == 6


def kinds(rng: np.random.Generator, width: int, height: int) -> Iterator[bytes]:
    """Files of many kinds of one image."""
    image = photo(rng, width, height)
    for factor in SAMPLINGS.values():
        for options in ((), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)):
            yield cv2.imencode(".jpg", np.array(image), (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor, *options))[
                1
            ].tobytes()
    for changed, options in (
        (image.convert("L"), {}),
        (image.convert("L"), {"progressive": True}),
        (image, {"optimize": True}),
        (image, {"keep_rgb": True}),
        (image.convert("CMYK"), {}),
    ):
        buffer = io.BytesIO()
        changed.save(buffer, "JPEG", **options)
        yield buffer.getvalue()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_unusual_files_and_damaged_ones_are_judged_alike(width: int, height: int) -> None:
    rng = np.random.default_rng(width)
    verdicts = set()
    for content in kinds(rng, width, height):
        damaged = [content, content[: len(content) // 2], content[:-2], content + b"needless", b"", content[:20]]
        scan = content.index(b"\xff\xda")
        damaged.append(content[:scan] + b"needless" + content[scan:])
        for _ in range(20):
            changed = bytearray(content)
            changed[rng.integers(2, len(changed))] = rng.integers(256)
            damaged.append(bytes(changed))
        for file in damaged:
            expected = libjpeg._decode_by_library(file, width, height)
            others = [DECODERS[name](file, width, height) for name in ("simplejpeg", "Pillow")]
            verdicts.add((expected.pixels is not None, expected.sound))

            assert not others[1].sound  # it would not say so
            assert expected.sound or not others[0].sound
            for other in others:
                # What Pillow cannot read does not become a dataset: only then may one be stricter than the other.
                if expected.sound or other.pixels is not None:
                    assert np.array_equal(other.pixels, expected.pixels)
    assert verdicts == {(True, True), (True, False), (False, False)}


def test_an_image_of_another_size_and_a_cmyk_one_are_refused() -> None:
    rgb = pillow_encode(photo(np.random.default_rng(0), 64, 48), 90, 420)
    buffer = io.BytesIO()
    photo(np.random.default_rng(0), 64, 48).convert("CMYK").save(buffer, "JPEG")

    for decode in DECODERS.values():
        assert decode(rgb, 64, 48).pixels is not None
        for size in ((48, 64), (32, 24), (640, 480)):
            assert decode(rgb, *size) == libjpeg.DAMAGED
        assert decode(buffer.getvalue(), 64, 48) == libjpeg.DAMAGED


@pytest.mark.parametrize("name", DECODERS)
def test_a_fatal_error_after_a_warning_is_no_warning(name: str) -> None:
    """libturbojpeg gives both the same code, and leaves pixels as they were."""
    jpeg = pillow_encode(photo(np.random.default_rng(0), 64, 64), 90, 420)
    frame = jpeg.index(b"\xff\xc0")
    warned = jpeg[:frame] + b"needless" + jpeg[frame:]
    fatal = bytearray(warned)
    fatal[frame + len(b"needless") + 12] = 3  # a table of the first component that the file does not have

    for memory in (None, np.empty(3 * 64 * 64, np.uint8)):
        assert DECODERS[name](warned, 64, 64, memory).pixels is not None
        assert DECODERS[name](bytes(fatal), 64, 64, memory) == libjpeg.DAMAGED


@pytest.mark.parametrize("kind", ["cut short", "needless bytes", "zeros", "empty", "text"])
def test_what_it_complains_of_is_left_to_pillow(kind: str) -> None:
    jpeg = pillow_encode(photo(np.random.default_rng(0), 64, 64), 90, 420)
    scan = jpeg.index(b"\xff\xda")
    content = {
        "cut short": jpeg[: len(jpeg) // 2],
        "needless bytes": jpeg[:scan] + b"needless" + jpeg[scan:],
        "zeros": bytes(500),
        "empty": b"",
        "text": b"no JPEG",
    }[kind]

    assert libjpeg.decode(content, 64, 64) is None
    assert libjpeg.decode(jpeg, 64, 64) is not None


def test_a_jpeg_that_there_is_no_room_for_is_lack_of_memory() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    with limits.file_size(3_000), pytest.raises(MemoryError, match="a JPEG of 200 x 200 pixels"):
        libjpeg._encode_by_pillow(pixels, 90, 420)
