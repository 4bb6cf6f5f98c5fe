"""The plain form of formwork.loading.batch_kernels, with Pillow and torch: the same arguments, the same pixels."""

import numpy as np
import torch
from PIL import Image

from formwork.beton.format import RAW
from formwork.beton.provenance import checksum
from formwork.kernels import libjpeg
from formwork.loading.augmentation.base import PixelOperation, change_plainly
from formwork.loading.augmentation.mixup import mixed
from formwork.loading.augmentation.views import Crops
from formwork.loading.batch_pixels import BatchPixels
from formwork.loading.dtypes import as_tensor, normalise
from formwork.loading.read import Data
from formwork.loading.status import (
    BAD_JPEG,
    CHANGED,
    JPEG_WARNING,
    OK,
    OUTSIDE_FILE,
    UNKNOWN_MODE,
    UNREADABLE,
    WRONG_SIZE,
)
from formwork.loading.transforms import training_image
from formwork.loading.verification import Checks


def load(
    data: Data,
    sizes: np.ndarray,
    modes: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    checks: Checks,
    crops: Crops,
    normal: np.ndarray,
    start: int,
    stop: int,
    out: BatchPixels,
    status: np.ndarray,
) -> None:
    """See formwork.loading.batch_kernels.load."""
    for i in range(start, stop):
        offset, size, padding = int(data.offsets[i]), int(sizes[i]), int(checks.padding[i])
        in_files = len(data.descriptors) > 0
        if offset < 0 or size <= 0 or (not in_files and offset + size + padding > data.memory.size):
            status[i] = OUTSIDE_FILE
        elif modes[i] > RAW:
            status[i] = UNKNOWN_MODE
        elif (found := data.behind(i, size, padding)) != OK:
            status[i] = found
        elif (sample := data.of(i, size)) is None:
            status[i] = UNREADABLE
        elif checks.wanted[i] and checksum(sample) != checks.checksums[i]:
            status[i] = CHANGED
        else:
            status[i], pixels = _pixels(sample, int(modes[i]), int(heights[i]), int(widths[i]))
            if pixels is not None:
                image = Image.fromarray(pixels)
                for view, (side, images) in enumerate(zip(out.sides.tolist(), out.views, strict=True)):
                    _store(training_image(image, crops.plan(view), i, side), normal, images[i])


def _pixels(sample: np.ndarray, mode: int, height: int, width: int) -> tuple[int, np.ndarray | None]:
    """The status of a sample, and its (height, width, 3) uint8 pixels where it has any."""
    if mode == RAW:
        fits = sample.size == height * width * 3
        return (OK, sample.reshape(height, width, 3)) if fits else (WRONG_SIZE, None)
    pixels, sound = libjpeg.decode_anyhow(sample.tobytes(), width, height)
    if pixels is None:
        return BAD_JPEG, None
    return OK if sound else JPEG_WARNING, pixels


def change(operation: PixelOperation, images: np.ndarray, values: np.ndarray) -> None:
    """See formwork.loading.batch_kernels.change."""
    change_plainly(operation, images, values)


def finish(
    pixels: np.ndarray,
    places: np.ndarray,
    values: np.ndarray,
    normal: np.ndarray,
    start: int,
    stop: int,
    out: np.ndarray,
) -> None:
    """See formwork.loading.batch_kernels.finish."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    for i in range(start, stop):
        image = images[i]
        if len(values):
            image = mixed(image, images[places[i]], values[i])
        _store(image, normal, out[i])


def _store(image: torch.Tensor, normal: np.ndarray, out: np.ndarray) -> None:
    """Normalise an image (3, S, S) uint8 into out, (S, S, 3) of a type in formwork.loading.dtypes.STORED."""
    stored = as_tensor(out).permute(2, 0, 1)
    stored.copy_(image if stored.dtype == torch.uint8 else normalise(image, normal))
