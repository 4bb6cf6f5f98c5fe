"""The compiled kernels give Pillow's pixels and say what is wrong with a sample."""

import io

import numpy as np
import pytest
from PIL import Image

from formwork.loading import kernels
from formwork.resize import resize

RNG = np.random.default_rng(0)
SIZES = [(1, 1, 1), (1, 1, 30), (37, 53, 1), (8, 8, 8), (300, 40, 33), (40, 300, 33), (255, 191, 133), (61, 64, 224)]


@pytest.mark.parametrize(("height", "width", "size"), SIZES)
def test_resize_is_pillows_bit_for_bit(height, width, size):
    pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    out = np.empty((size, size, 3), dtype=np.uint8)
    for _ in range(20):
        x0, x1 = np.sort(RNG.integers(0, width + 1, 2))
        y0, y1 = np.sort(RNG.integers(0, height + 1, 2))
        x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
        x0, y0 = min(x0, width - 1), min(y0, height - 1)
        x1, y1 = min(x1, width), min(y1, height)
        box = np.array([x0, y0, x1, y1], dtype=np.float32)
        resize(pixels, box, box.astype(np.int32), out)
        cropped = image.crop((x0, y0, x1, y1)).resize((size, size), Image.Resampling.BILINEAR)
        assert np.array_equal(out, np.asarray(cropped))
        # A part with fractional edges, whose neighbours take part in the scaling.
        left, top = RNG.uniform(0, [width * 0.4, height * 0.4]).astype(np.float32)
        right, bottom = RNG.uniform([width * 0.6, height * 0.6], [width, height]).astype(np.float32)
        resize(pixels, np.array([left, top, right, bottom]), np.array([0, 0, width, height], np.int32), out)
        edges = (float(left), float(top), float(right), float(bottom))
        assert np.array_equal(out, np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=edges)))


def load(data: bytes, mode: int, height: int, width: int, size: int | None = None, offset: int = 0):
    """One whole 8 x 8 image through the kernel: (status, (8, 8, 3) float32 of 8-bit values)."""
    normal = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    out, status = np.empty((1, 8, 8, 3), np.float32), np.full(1, 255, np.uint8)
    kernels.load(
        np.frombuffer(data, np.uint8), np.array([offset]), np.array([len(data) if size is None else size]),
        np.array([mode], np.uint8), np.array([height]), np.array([width]),
        np.array([[0, 0, width, height]], np.float32), np.array([[0, 0, width, height]], np.int32),
        np.zeros((1, 2), np.int32), np.zeros(1, bool), normal, 0, 1, out, status,
    )  # fmt: skip
    return status[0], out[0]


def jpeg(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (17, 31), (100, 60)])
def test_decodes_jpegs_as_pillow_does(height, width):
    data = jpeg(height, width)
    status, out = load(data, 0, height, width)
    assert status == kernels.OK
    expected = Image.open(io.BytesIO(data)).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(out, np.asarray(expected))


def test_says_what_is_wrong_with_a_sample():
    data = jpeg(64, 64)
    assert load(data, 0, 64, 64)[0] == kernels.OK
    assert load(data[: len(data) // 2], 0, 64, 64)[0] == kernels.JPEG_WARNING
    tables = data.index(b"\xff\xda")
    assert load(data[:tables] + b"needless" + data[tables:], 0, 64, 64)[0] == kernels.JPEG_WARNING
    assert load(b"\0" * 500, 0, 64, 64)[0] == kernels.BAD_JPEG
    assert load(data, 0, 64, 64, size=len(data) + 1)[0] == kernels.OUTSIDE_FILE
    assert load(data, 0, 64, 64, offset=-1)[0] == kernels.OUTSIDE_FILE
    assert load(data, 2, 64, 64)[0] == kernels.UNKNOWN_MODE
    assert load(data, 1, 64, 64)[0] == kernels.WRONG_SIZE
