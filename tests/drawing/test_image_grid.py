"""Images keep their pixels in a picture, and any text can be written beside them."""

import numpy as np
import pytest
from PIL import Image

from formwork.drawing.image_grid import CELL, LARGEST, Row, image_rows


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


def occurs(small: np.ndarray, large: np.ndarray) -> bool:
    """Whether an image stands somewhere in another, pixel by pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(large, small.shape)[..., 0, :, :, :]
    candidates = np.argwhere(np.all(windows[:, :, 0, 0] == small[0, 0], axis=-1))
    return any(np.array_equal(windows[y, x], small) for y, x in candidates)


@pytest.mark.parametrize(("side", "times"), [(8, CELL // 8), (100, 1), (LARGEST, 1)])
def test_pixels_are_enlarged_and_not_mixed(tmp_path, side, times):
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    image_rows(tmp_path / "a.png", "title", [Row("row", [255 - image, image])])
    assert occurs(image.repeat(times, 0).repeat(times, 1), pixels(tmp_path / "a.png"))


def test_a_large_image_is_scaled_down(tmp_path):
    image_rows(tmp_path / "a.png", "", [Row("", [np.full((1000, 4000, 3), 77, np.uint8)])])
    shown = np.all(pixels(tmp_path / "a.png") == 77, axis=-1)
    assert shown.any(axis=1).sum() == LARGEST // 4
    assert shown.any(axis=0).sum() == LARGEST


def test_an_image_as_white_as_the_paper_has_an_edge(tmp_path):
    image_rows(tmp_path / "a.png", "", [Row("", [np.full((16, 16, 3), 255, np.uint8)])])
    assert np.any(pixels(tmp_path / "a.png") != 255)


def test_texts_of_any_kind_and_length(tmp_path):
    image = np.zeros((8, 8, 3), np.uint8)
    for text in ("a bad byte \udcff", "$5 and $6", "日本", "tab\tand\x07bell", "", "long " * 200, "l" * 2000):
        image_rows(tmp_path / "a.png", text, [Row(text, [image] * 3, [text] * 3)])
        width = pixels(tmp_path / "a.png").shape[1]
        assert width < 700
    image_rows(tmp_path / "b.png", text, [Row(text, [image] * 3, [f"{text}\nsecond line", "", text])])
    assert pixels(tmp_path / "b.png").shape[0] > pixels(tmp_path / "a.png").shape[0]


def test_the_same_content_gives_the_same_bytes(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    for name in ("a", "b"):
        image_rows(tmp_path / name, "title", [Row("heading", [image], ["caption"])])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
