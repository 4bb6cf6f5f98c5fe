"""Scaling gives Pillow's pixels, bit for bit."""

import numpy as np
import pytest
from PIL import Image

from formwork.kernels.scaling import resize, scale_row, scale_widths
from tests.make_images import pillow_resize

EXTREMES = [
    ((1, 1), (1, 1)),
    ((1, 1), (300, 200)),
    ((300, 200), (1, 1)),
    ((20000, 30), (256, 1)),
    ((30, 20000), (1, 256)),
    ((20000, 30), (224, 224)),
    ((30, 20000), (224, 224)),
    ((1, 500), (500, 1)),
    ((500, 1), (1, 500)),
    ((640, 480), (640, 480)),
    ((640, 480), (640, 100)),
    ((640, 480), (100, 480)),
    ((65500, 2), (3, 3)),
]
"""(width, height) of the source and of the result."""


def image(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8: noise, or nothing but black and white, whose sums reach the ends of the range."""
    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(pixels > 127, 255, 0).astype(np.uint8) if rng.integers(2) else pixels


def ours(pixels: np.ndarray, size: tuple[int, int], box: np.ndarray, window: np.ndarray) -> np.ndarray:
    out = np.full((size[1], size[0], 3), 77, np.uint8)
    resize(pixels, box.astype(np.float32), window.astype(np.int32), out)
    return out


@pytest.mark.parametrize(("source", "size"), EXTREMES)
def test_a_whole_image(source: tuple[int, int], size: tuple[int, int]) -> None:
    pixels = image(np.random.default_rng(0), *source)
    whole = np.array([0, 0, *source])

    assert np.array_equal(ours(pixels, size, whole, whole), pillow_resize(Image.fromarray(pixels), size))


def draw(rng: np.random.Generator, largest: int) -> tuple[int, int]:
    """Two sides, small ones as likely as large ones."""
    return tuple(int(side) for side in np.exp(rng.uniform(0, np.log(largest + 1), 2)))


@pytest.mark.parametrize("seed", range(150))
def test_random_sizes_and_parts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (width, height), size = draw(rng, 1500), draw(rng, 400)
    pixels = image(rng, width, height)
    pillow = Image.fromarray(pixels)
    whole = np.array([0, 0, width, height])
    assert np.array_equal(ours(pixels, size, whole, whole), pillow_resize(pillow, size))

    # A crop, whose neighbours take no part.
    x0, x1 = np.sort(rng.choice(width + 1, 2, replace=False))
    y0, y1 = np.sort(rng.choice(height + 1, 2, replace=False))
    crop = np.array([x0, y0, x1, y1])
    expected = pillow_resize(pillow.crop(tuple(crop.tolist())), size)
    assert np.array_equal(ours(pixels, size, crop, crop), expected)

    # A part with edges between pixels, whose neighbours do.
    x0, x1 = np.sort(rng.uniform(0, width, 2))
    y0, y1 = np.sort(rng.uniform(0, height, 2))
    box = np.array([x0, y0, x1, y1], np.float32)
    if box[0] < box[2] and box[1] < box[3]:
        assert np.array_equal(ours(pixels, size, box, whole), pillow_resize(pillow, size, tuple(box.tolist())))


def test_nothing_outside_the_result_is_written() -> None:
    """The kernels write four bytes for a pixel of three."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        (width, height), size = draw(rng, 200), draw(rng, 200)
        memory = np.full(size[0] * size[1] * 3 + 64, 77, np.uint8)
        out = memory[32:-32].reshape(size[1], size[0], 3)
        whole = np.array([0, 0, width, height])
        resize(image(rng, width, height), whole.astype(np.float32), whole.astype(np.int32), out)
        assert (memory[:32] == 77).all()
        assert (memory[-32:] == 77).all()


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("start", [0, 3])
def test_where_nothing_is_to_be_scaled_pixels_stay_as_they_are(start: int, flip: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    box = np.array([start, start, start + 8, start + 8], np.float32)
    image, first, count, weights, begin = scale_widths(
        pixels.reshape(12, 36), box, np.array([0, 0, 12, 12], np.int32), flip, 8, 8
    )
    found = np.empty((8, 24), np.uint8)
    for row in range(8):
        scale_row(image, first[row], begin, count[row], weights[row], found[row])
    expected = pixels[start : start + 8, start : start + 8][:, :: -1 if flip else 1]
    assert np.array_equal(found.reshape(8, 8, 3), expected)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 6, 7, 21, 100])
@pytest.mark.parametrize("height", [1, 2, 5, 9])
@pytest.mark.parametrize("size", [(3, 3), (4, 4), (7, 30), (224, 224)])
def test_nothing_is_read_after_the_last_pixel(
    end_of_memory: np.ndarray, width: int, height: int, size: tuple[int, int]
) -> None:
    pixels = end_of_memory[-width * height * 3 :].reshape(height, width, 3)
    pixels[:] = image(np.random.default_rng(0), width, height)
    whole = np.array([0, 0, width, height])

    assert np.array_equal(ours(pixels, size, whole, whole), pillow_resize(Image.fromarray(pixels), size))
