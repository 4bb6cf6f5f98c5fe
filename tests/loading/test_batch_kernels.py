"""One sample through the kernel, and through its plain form: the same pixels, and the same faults."""

import io
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from formwork.beton.provenance import checksum
from formwork.loading import batch_kernels, plain_batches
from formwork.loading.augmentation.base import AugmentPlan
from formwork.loading.augmentation.views import Crops
from formwork.loading.batch_pixels import BatchPixels
from formwork.loading.buffers import BufferPool
from formwork.loading.read import Data
from formwork.loading.status import BAD_JPEG, CHANGED, JPEG_WARNING, OK, OUTSIDE_FILE, UNKNOWN_MODE, WRONG_SIZE
from formwork.loading.verification import NO_CHECKS, Checks

RNG = np.random.default_rng(0)
FORMS = pytest.mark.parametrize("form", [batch_kernels, plain_batches], ids=["compiled", "plain"])


def load(
    form: ModuleType,
    data: bytes,
    mode: int,
    height: int,
    width: int,
    size: int | None = None,
    offset: int = 0,
    written: bytes | None = None,
) -> tuple[int, np.ndarray]:
    """The status of one whole image, and (8, 8, 3) float32 of its 8-bit values.

    Args:
        written: what its checksum is of; None: it is not compared with one.
    """
    whole = np.array([[0, 0, width, height]])
    plan = AugmentPlan(
        box=whole.astype(np.float32),
        window=whole.astype(np.int32),
        shift=np.zeros((1, 2), np.int32),
        flip=np.zeros(1, bool),
        fill=np.zeros(3, np.uint8),
        values=[],
    )
    normal = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
    checks = NO_CHECKS
    if written is not None:
        checks = Checks(
            np.ones(1, bool), np.array([checksum(written)], np.uint64), np.zeros(1, np.int64), trusted=False
        )
    out, status = BatchPixels(BufferPool(), [8], 1, np.float32), np.full(1, 255, np.uint8)
    form.load(
        Data(np.array(bytearray(data)), np.array([offset])), np.array([len(data) if size is None else size]),
        np.array([mode], np.uint8), np.array([height]), np.array([width]), checks,
        Crops.of([plan]), normal, 0, 1, out, status,
    )  # fmt: skip
    return int(status[0]), out.views[0][0]


def jpeg(height: int, width: int, **options: object) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))
    image.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


@FORMS
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (8, 8), (17, 31), (100, 60)])
def test_decodes_jpegs_as_pillow_does(form: ModuleType, height: int, width: int, progressive: bool) -> None:
    data = jpeg(height, width, progressive=progressive)
    status, out = load(form, data, 0, height, width)
    assert status == OK
    expected = Image.open(io.BytesIO(data)).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(out, np.asarray(expected))


@FORMS
def test_says_what_is_wrong_with_a_sample(form: ModuleType) -> None:
    data = jpeg(64, 64)
    assert load(form, data, 0, 64, 64)[0] == OK
    assert load(form, data[: len(data) // 2], 0, 64, 64)[0] == JPEG_WARNING
    tables = data.index(b"\xff\xda")
    assert load(form, data[:tables] + b"needless" + data[tables:], 0, 64, 64)[0] == JPEG_WARNING
    assert load(form, b"\0" * 500, 0, 64, 64)[0] == BAD_JPEG
    assert load(form, data, 0, 64, 63)[0] == BAD_JPEG
    assert load(form, data, 0, 64, 64, size=len(data) + 1)[0] == OUTSIDE_FILE
    assert load(form, data, 0, 64, 64, offset=-1)[0] == OUTSIDE_FILE
    assert load(form, data, 2, 64, 64)[0] == UNKNOWN_MODE
    assert load(form, data, 1, 64, 64)[0] == WRONG_SIZE


@FORMS
def test_compares_a_sample_with_its_checksum_before_it_is_decoded(form: ModuleType) -> None:
    data = jpeg(64, 64)
    for mode, content, side in [(0, data, 64), (1, RNG.bytes(3 * 20 * 20), 20)]:
        status, pixels = load(form, content, mode, side, side, written=content)
        assert status == OK
        assert np.array_equal(pixels, load(form, content, mode, side, side)[1])
        for position in range(0, len(content), 7):
            for bit in (1, 16, 128):
                damaged = bytearray(content)
                damaged[position] ^= bit
                assert load(form, bytes(damaged), mode, side, side, written=content)[0] == CHANGED
    needless = data[:-2] + b"needless" + data[-2:]
    assert load(form, needless, 0, 64, 64, written=needless)[0] == JPEG_WARNING


@FORMS
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": "4:2:0", "restart_marker_blocks": 3}])
def test_a_size_that_differs_from_the_metadata_by_one_bit_is_damage(form: ModuleType, options: dict) -> None:
    """libjpeg-turbo would scale the image, or put its rows where they do not belong."""
    data = jpeg(64, 93, **options)
    at = next(data.index(marker) for marker in (b"\xff\xc0", b"\xff\xc2") if marker in data) + 5
    assert load(form, data, 0, 64, 93)[0] == OK
    for bit in range(32):
        changed = bytearray(data)
        changed[at + bit // 8] ^= 1 << bit % 8
        assert load(form, bytes(changed), 0, 64, 93)[0] == BAD_JPEG
