"""Scale a part of an image as Pillow does, bit for bit."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from formwork.kernels.compile import either


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
    return cropped.resize((width, height), Image.Resampling.BILINEAR, box=edges)
