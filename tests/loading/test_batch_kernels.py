"""The compiled kernel decodes as Pillow does, and says what is wrong with a sample."""

import io

import numpy as np
import pytest
from PIL import Image

from formwork.loading import batch_kernels as kernels

RNG = np.random.default_rng(0)


def load(data: bytes, mode: int, height: int, width: int, size: int | None = None, offset: int = 0):
    """One whole 8 x 8 image through the kernel: (status, (8, 8, 3) float32 of 8-bit values)."""
    normal = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    out, status = np.empty((1, 8, 8, 3), np.float32), np.full(1, 255, np.uint8)
    kernels.load(
        np.array(bytearray(data)), np.array([offset]), np.array([len(data) if size is None else size]),
        np.array([mode], np.uint8), np.array([height]), np.array([width]),
        np.array([[0, 0, width, height]], np.float32), np.array([[0, 0, width, height]], np.int32),
        np.zeros((1, 2), np.int32), np.zeros(1, bool), np.zeros(3, np.uint8), normal, 0, 1, out, status,
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
