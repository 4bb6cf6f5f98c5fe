"""libturbojpeg and Pillow, which stands in for it, make the same files and the same pixels."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from formwork.kernels import turbojpeg
from tests.make_images import noise, photo

SUBSAMPLINGS = list(turbojpeg.SUBSAMPLINGS)
SIZES = [(1, 1), (8, 8), (17, 31), (16, 16), (200, 3), (3, 200), (123, 77)]
"""(width, height)"""


def pillow_encode(image: Image.Image, quality: int, subsampling: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling=":".join(str(subsampling)))
    return buffer.getvalue()


def pillow_decode(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def test_it_is_there() -> None:
    assert turbojpeg.library() is not None


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("quality", [1, 30, 75, 90, 95, 100])
@pytest.mark.parametrize("content", [noise, photo])
def test_files_and_pixels_are_pillows(subsampling: int, quality: int, content: Callable) -> None:
    rng = np.random.default_rng(0)
    for width, height in SIZES:
        image = content(rng, width, height)
        jpeg = turbojpeg.encode(np.array(image), quality, subsampling)

        assert jpeg == pillow_encode(image, quality, subsampling)
        assert np.array_equal(turbojpeg.decode(jpeg, width, height), pillow_decode(jpeg))


def test_quality_and_subsampling_matter() -> None:
    pixels = np.array(photo(np.random.default_rng(0), 64, 64))

    files = {turbojpeg.encode(pixels, quality, name) for quality in (30, 90) for name in SUBSAMPLINGS}

    assert len(files) == 6


def test_without_ffcv_pillow_writes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.array(noise(np.random.default_rng(0), 50, 40))
    expected = turbojpeg.encode(pixels, 85, 422)

    monkeypatch.setattr(turbojpeg, "find_spec", lambda name: None)
    turbojpeg.library.cache_clear()
    try:
        assert turbojpeg.library() is None
        assert turbojpeg.encode(pixels, 85, 422) == expected
        assert turbojpeg.decode(expected, 50, 40) is None
    finally:
        turbojpeg.library.cache_clear()


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

    assert turbojpeg.decode(content, 64, 64) is None
    assert turbojpeg.decode(jpeg, 64, 64) is not None
