"""Scale a part of an image as Pillow does, bit for bit."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from formwork.kernels.compile import either

ROWS_LAST = int(Image.__version__.partition(".")[0]) < 13
"""Pillow 13 scales heights first where that is less work, older ones never. Each of the two passes rounds."""


def _kernel() -> Callable[..., None]:
    from formwork.kernels.scaling import resize

    return resize


def _resize(source: np.ndarray, box: np.ndarray, window: np.ndarray, out: np.ndarray) -> None:
    """Scale a part of an image as PIL.Image.resize(size, BILINEAR, box) does, bit for bit.

    Args:
        source: (H, W, 3) uint8, contiguous.
        box: (4,) float32 left, top, right, bottom, the part to scale.
        window: (4,) int32 left, top, right, bottom, the pixels that may take part; (0, 0, W, H) for resize(box=...),
            the box itself for crop(box).resize(...).
        out: (height, width, 3) uint8, contiguous.
    """
    height, width, _ = out.shape
    out[:] = scaled(Image.fromarray(source), box, window, width, height)


resize = either(_kernel, _resize)


def scaled(image: Image.Image, box: np.ndarray, window: np.ndarray, width: int, height: int) -> Image.Image:
    """The plain form of `resize`, for an image of Pillow's."""
    edges = (box - window[[0, 1, 0, 1]].astype(np.float32)).tolist()
    part = tuple(window.tolist())
    cropped = image if part == (0, 0, *image.size) else image.crop(part)
    columns, rows = cropped.size
    if ROWS_LAST and rows > height and rows - height > 2 * (columns - width):
        left, top, right, bottom = edges
        cropped = cropped.resize((columns, height), Image.Resampling.BILINEAR, box=(0, top, columns, bottom))
        edges = [left, 0, right, height]
    return cropped.resize((width, height), Image.Resampling.BILINEAR, box=edges)
