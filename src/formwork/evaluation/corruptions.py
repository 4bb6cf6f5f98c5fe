"""Images spoilt in a known way, as the model would see them: after cropping and scaling, before normalisation.

A pixel depends on the image, the seed, the sample id, the corruption and its severity, and on nothing else: not on the
loader, the batch or the machine. Severities are those of formwork.params.evaluate.CORRUPTIONS; most are of the kinds of
D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR
2019. Values are rounded, and clipped to 0 to 255.
"""

import io
from collections.abc import Callable, Iterator
from zlib import crc32

import numpy as np
import torch
from PIL import Image

from formwork.loading.base import BaseLoader, Batch, once
from formwork.loading.dtypes import normalise

HIDDEN = 127  # grey value of what is hidden


class Corruption:
    """One corruption at one severity."""

    def __init__(self, name: str, severity: float, seed: int):
        self.name, self.severity, self._seed = name, severity, seed

    def __call__(self, images: np.ndarray, first: int) -> np.ndarray:
        """(B, 3, H, W) uint8 from the same.

        Args:
            first: sample id of the first image; those of the others follow.
        """
        return PIXELS[self.name](images, self.severity, lambda place: self._random(first + place))

    def __str__(self) -> str:
        return f"{self.name} {self.severity:g}"

    def _random(self, sample: int) -> np.random.Generator:
        """The sample id is in the high half of the counter: no two samples have numbers in common."""
        key = self._seed << 32 | crc32(f"{self.name} {float(self.severity)}".encode())
        return np.random.Generator(np.random.Philox(key=key, counter=sample << 128))


Draws = Callable[[int], np.random.Generator]
"""The generator of the image at a place in the batch."""


def _noise(images: np.ndarray, severity: float, draws: Draws) -> np.ndarray:
    """White Gaussian noise, whose variance is that of all values of the image, about their mean, / 10^(SNR / 10)."""
    number = images[0].size
    sums = images.sum(axis=(1, 2, 3), dtype=np.int64)  # exact, in any order
    squares = np.square(images, dtype=np.int64).sum(axis=(1, 2, 3))
    std = np.sqrt(number * squares - sums**2) / number / 10 ** (severity / 20)
    found = images.astype(np.float32)
    for place, one in enumerate(found):
        one += np.float32(std[place]) * draws(place).standard_normal(one.shape, np.float32)
    return _rounded(found)


def _blur(images: np.ndarray, severity: float, draws: Draws) -> np.ndarray:
    """A Gaussian; beyond its edges an image goes on as it ends."""
    from scipy.ndimage import gaussian_filter  # here, because few runs need it

    sigma = severity * images.shape[-1]
    return _rounded(gaussian_filter(images.astype(np.float32), (0, 0, sigma, sigma), mode="nearest"))


def _contrast(images: np.ndarray, severity: float, draws: Draws) -> np.ndarray:
    """The distance of each value from the mean of its channel, times the severity."""
    size = images.shape[2] * images.shape[3]
    mean = (images.sum(axis=(2, 3), keepdims=True, dtype=np.int64) / size).astype(np.float32)
    return _rounded(mean + np.float32(severity) * (images - mean))


def _brightness(images: np.ndarray, severity: float, draws: Draws) -> np.ndarray:
    return _rounded(images + np.float32(255 * severity))


def _jpeg(images: np.ndarray, severity: float, draws: Draws) -> np.ndarray:
    """Encoded and decoded by Pillow, with chroma at half the resolution."""
    found = np.empty_like(images)
    for place, one in enumerate(images):
        buffer = io.BytesIO()
        pixels = np.ascontiguousarray(one.transpose(1, 2, 0))
        Image.fromarray(pixels).save(buffer, "JPEG", quality=int(severity), subsampling="4:2:0")
        found[place] = np.asarray(Image.open(buffer)).transpose(2, 0, 1)
    return found


def _occlusion(images: np.ndarray, severity: float, draws: Draws) -> np.ndarray:
    """A grey square somewhere in the image, with the side, in whole pixels, whose area is nearest to this share."""
    height, width = images.shape[2:]
    side = round(min(height, width) * severity**0.5)
    found = images.copy()
    for place, one in enumerate(found):
        y, x = draws(place).integers(0, (height - side + 1, width - side + 1))
        one[:, y : y + side, x : x + side] = HIDDEN
    return found


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


PIXELS: dict[str, Callable[[np.ndarray, float, Draws], np.ndarray]] = {
    "noise": _noise,
    "blur": _blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "jpeg": _jpeg,
    "occlusion": _occlusion,
}


class Corrupted:
    """The batches of a loader, with spoilt images, normalised.

    Args:
        loader: of a split in the order of its manifest, with uint8 images.
        dtype: that the model has its images in.
    """

    def __init__(self, loader: BaseLoader, corruption: Corruption, normal: np.ndarray, dtype: str):
        self.loader, self.corruption, self.normal = loader, corruption, normal
        self.dtype = getattr(torch, dtype if dtype != "uint8" else "float32")

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        self.loader.set_epoch(0)  # the same crops each time, where augment.val has random ones
        first = 0
        for batch in self.loader:
            images, targets = once(batch)
            spoilt = torch.from_numpy(self.corruption(images.numpy(), first))
            yield normalise(spoilt, self.normal).to(self.dtype), targets
            first += len(images)
