"""Noise with the statistics of photos, in classes that a model can learn: for benchmarks. Nothing is downloaded.

Sizes 500 x 375 (three of four) and 375 x 500, JPEG quality 92, mean file near 117 kB, close to ImageNet's. The power of
photos falls with frequency (D. Field, 1987); so does that of this noise, and its channels are correlated. A class is a
direction in colour in which the noise varies, and a preference for horizontal or vertical structure: crops, flips and
scaling keep both. The mean colour and the contrast differ by image, and not by class.
"""

import errno
import mmap
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from formwork.parallel import in_order
from formwork.params import SyntheticSource
from formwork.progress import progress
from formwork.system import cores

VERSION = 1
LONG, SHORT = 500, 375  # pixels
UPRIGHT = 0.25  # share of images that are taller than wide
SLOPE = 1.1  # amplitude falls as frequency ** -SLOPE
QUALITY = 92
END = b"\xff\xd9"  # of a JPEG file
# The fractional parts of label * STEPS fill a square evenly for any number of labels (M. Roberts' R2 sequence).
STEPS = 0.7548776662466927, 0.5698402909980532
LUMA = np.array([1, 1, 1], np.float32)
CHROMA = np.array([[1, -1, 0], [0.5, 0.5, -1]], np.float32) / np.sqrt(np.array([[2], [1.5]], np.float32))


def photo(index: int, label: int, seed: int) -> np.ndarray:
    """Image `index` of class `label`: (H, W, 3) uint8. The same arguments give the same image."""
    rng = np.random.default_rng([seed, index, label])
    height, width = (LONG, SHORT) if rng.random() < UPRIGHT else (SHORT, LONG)
    first, second = ((label * step) % 1 for step in STEPS)
    angle = np.pi * first + rng.normal(0, 0.08)  # of an axis: half a turn covers all
    stretch = 2 ** (1.6 * (second - 0.5) + rng.normal(0, 0.12))  # of vertical over horizontal frequencies
    axis = np.cos(angle) * CHROMA[0] + np.sin(angle) * CHROMA[1]
    across = -np.sin(angle) * CHROMA[0] + np.cos(angle) * CHROMA[1]
    amplitude = _amplitude(height, width, stretch)
    image = np.zeros((height, width, 3), np.float32)
    for direction, strength in ((LUMA, 1.0), (axis, 0.55), (across, 0.2)):
        image += (strength * _noise(rng, amplitude))[..., None] * direction.astype(np.float32)
    contrast = 47 * 2 ** rng.uniform(-0.3, 0.3)
    mean = rng.uniform(100, 140) + rng.uniform(-20, 20, 3)
    return np.clip(image * np.float32(contrast) + mean.astype(np.float32), 0, 255).astype(np.uint8)


def write_photos(folder: Path, images: int, classes: int, seed: int, workers: int) -> None:
    """Write <class>/<index>.jpg below `folder`, with labels in turn; the same files for any number of workers.

    Args:
        workers: number of threads; NumPy's FFT and Pillow's encoder release the GIL.
    """
    labels = min(classes, images)
    digits = len(str(classes - 1))
    names = [f"class{label:0{digits}d}" for label in range(labels)]
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)

    def write_one(index: int) -> None:
        label = index % labels
        image = Image.fromarray(photo(index, label, seed))
        path = folder / names[label] / f"{index:06d}.jpg"
        with path.open("w+b") as file:
            image.save(file, "JPEG", quality=QUALITY)
            _check_end(file)

    with ThreadPoolExecutor(workers) as pool, progress(total=images, name="make", unit="images") as bar:
        for _ in in_order(pool, write_one, range(images), ahead=4 * workers):
            bar.update()


def write(folder: Path, archives: Path, options: SyntheticSource) -> None:
    """Write <class>/<index>.jpg below `folder`."""
    write_photos(folder, options.images, options.classes, options.seed, cores())


def _check_end(file: BinaryIO) -> None:
    """Refuse a JPEG that a full disk has cut short: Pillow does not notice.

    Raises:
        OSError: what the system says against one more byte.
    """
    file.seek(-len(END), os.SEEK_END)
    if file.read() != END:
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)


def _noise(rng: np.random.Generator, amplitude: np.ndarray) -> np.ndarray:
    """Random values (H, W) of mean 0 and standard deviation 1.

    Args:
        amplitude: (H, W // 2 + 1), of each frequency.
    """
    height, half = amplitude.shape
    width = LONG + SHORT - height
    values = rng.standard_normal((2, height, half), np.float32)
    field = np.fft.irfft2((values[0] + 1j * values[1]) * amplitude, s=(height, width)).astype(np.float32)
    return (field - field.mean()) / field.std()


@cache
def _squared_frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, 1) vertical and (1, W // 2 + 1) horizontal."""
    return (
        np.fft.fftfreq(height)[:, None].astype(np.float32) ** 2,
        np.fft.rfftfreq(width)[None].astype(np.float32) ** 2,
    )


def _amplitude(height: int, width: int, stretch: float) -> np.ndarray:
    """(H, W // 2 + 1): amplitude of each frequency of an image, as np.fft.rfft2 orders them.

    Args:
        stretch: of vertical over horizontal frequencies.
    """
    vertical, horizontal = _squared_frequencies(height, width)
    squares = vertical * np.float32(stretch) + horizontal / np.float32(stretch)
    squares[0, 0] = 1
    return squares ** np.float32(-SLOPE / 2)
