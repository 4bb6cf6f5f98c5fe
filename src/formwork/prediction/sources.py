"""Images in the forms that programs have them in, as the upright 8-bit RGB that the pipeline sees."""

from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image

from formwork.errors import DatasetError, FormworkError
from formwork.escapes import printable
from formwork.images.pixels import read_rgb, to_rgb
from formwork.limits import of_the_run

Array: TypeAlias = np.ndarray | torch.Tensor
Source: TypeAlias = str | PathLike[str] | Array | Image.Image
"""An image: the path of a file, an array or tensor as `rgb_of` takes them, or an image of Pillow's."""

CHANNELS = (1, 3, 4)
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
FORMS = (
    "An array must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), and a tensor may be (1, H, W), (3, H, W) or "
    "(4, H, W): grey, RGB or RGBA"
)
VALUES = "The values must be uint8, uint16 of the whole range, bool, or floats from 0 to 1"


def listed(images: Source | Iterable[Source]) -> Iterable[Source]:
    """The images of an argument that may be a single one, or an array of several, (N, H, W, C) or (N, C, H, W)."""
    if isinstance(images, (np.ndarray, torch.Tensor)):
        return [images] if images.ndim < 4 else iter(images)
    return [images] if isinstance(images, (str, PathLike, Image.Image)) else images


def rgb_of(source: Source) -> Image.Image:
    """Upright 8-bit RGB, as of a file with these pixels: transparency is laid on white, and of 16 bits the upper 8 are
    taken.

    Args:
        source: arrays are (H, W) or (H, W, C), tensors (H, W) or (C, H, W), and the other order is taken where the
            shape leaves no doubt. C is 1, 3 or 4: grey, RGB, RGBA. Values are uint8, uint16, bool, or floats from 0 to
            1.

    Raises:
        FormworkError: it cannot be read, or it is not clear what it shows.
    """
    if isinstance(source, (np.ndarray, torch.Tensor)):
        return to_rgb(_image_of(source))
    if not isinstance(source, (str, PathLike, Image.Image)):
        raise FormworkError(f"An image must be a path, an array, a tensor or an image of Pillow's, not {source!r:.80}.")
    try:
        return to_rgb(source) if isinstance(source, Image.Image) else read_rgb(Path(fspath(source)))
    except (OSError, MemoryError) as error:
        name = "An image" if isinstance(source, Image.Image) else printable(fspath(source))
        reason = of_the_run(name, error) or f"{name} cannot be used: {getattr(error, 'strerror', None) or error}."
        raise DatasetError(reason) from error


def _image_of(array: Array) -> Image.Image:
    """Raises FormworkError: see rgb_of."""
    pixels = _channels_last(array)
    values = _eight_bits(pixels, array)
    if values.ndim == 2:
        values = values[:, :, None]
    mode = MODES[values.shape[2]]
    return Image.fromarray(np.ascontiguousarray(values[:, :, 0] if mode == "L" else values))


def _channels_last(array: Array) -> np.ndarray:
    """(H, W) or (H, W, C)."""
    is_tensor = isinstance(array, torch.Tensor)
    pixels = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array
    if 0 in pixels.shape or pixels.ndim not in (2, 3):
        raise FormworkError(f"{FORMS}; one is {_described(array)}.")
    if pixels.ndim == 2:
        return pixels
    first, last = pixels.shape[0] in CHANNELS, pixels.shape[2] in CHANNELS
    if is_tensor and first:
        return pixels.transpose(1, 2, 0)
    if last:
        return pixels
    if first:
        raise FormworkError(
            f"An array is {_described(array)}: one image with its channels first, or several grey ones? Give "
            "array.transpose(1, 2, 0) for the one, list(array) for the others."
        )
    raise FormworkError(f"{FORMS}; one is {_described(array)}. A batch has one more axis, or is a list.")


def _eight_bits(pixels: np.ndarray, array: Array) -> np.ndarray:
    """The same as uint8."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype == np.uint16:
        return (pixels >> 8).astype(np.uint8)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise FormworkError(f"{VALUES}; an image is {_described(array)}.")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):  # nan is neither
        raise FormworkError(
            f"{VALUES}; those of an image {_described(array)} lie between {low:.4g} and {high:.4g}. Give the image as "
            "it was before it was normalised, or as uint8."
        )
    return np.rint(pixels.astype(np.float64) * 255).astype(np.uint8)


def _described(array: Array) -> str:
    return f"{tuple(array.shape)} of {str(array.dtype).removeprefix('torch.')}"
