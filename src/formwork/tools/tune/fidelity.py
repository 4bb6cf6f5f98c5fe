"""How near stored images are to the original ones, as the model sees them in validation."""

import math
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.containers import image_source
from formwork.images.manifest import Manifest
from formwork.images.pixels import read_rgb
from formwork.limits import unreadable
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.geometry import CenterCrop
from formwork.loading.transforms import apply_plan

DETERMINISTIC = ("Resize", "CenterCrop")


@dataclass(frozen=True)
class Fidelity:
    """How near stored images are to the originals, both in training resolution.

    Attributes:
        psnr: dB, of the mean squared error over all images; infinite where all pixels are the same.
        worst_psnr: dB, of the image with the largest error.
    """

    psnr: float
    worst_psnr: float


def view(validation: Augmentation) -> Augmentation:
    """How images are brought to the training resolution to be compared: as in validation, without what is random."""
    name, first = validation.geometric[0]
    fixed = copy(validation)
    fixed.geometric = [(name, first) if name in DETERMINISTIC else ("CenterCrop", CenterCrop())]
    fixed.steps = []
    return fixed


def originals(manifest: Manifest, raw: Path, augmentation: Augmentation, workers: int) -> np.ndarray:
    """(N, S, S, 3) uint8, as PyTorchDataLoader makes them.

    Raises:
        DatasetError: one cannot be read.
    """
    rows = manifest.rows
    heights, widths = (np.array([getattr(row, side) for row in rows]) for side in ("height", "width"))
    plan = augmentation.plan(0, np.arange(len(rows)), heights, widths)

    def make(i: int) -> np.ndarray:
        path = raw / rows[i].path
        try:
            return apply_plan(read_rgb(image_source(raw, rows[i].path, rows[i].span)), plan, i, augmentation.resolution)
        except (OSError, MemoryError) as error:
            advice = "Run `dvc repro -f link` to list all bad images."
            raise DatasetError(unreadable(printable(path), error, advice)) from error

    pool = ThreadPoolExecutor(workers)
    try:
        return np.stack(list(pool.map(make, range(len(rows)))))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for a source that hangs


def compare(stored: np.ndarray, original: np.ndarray) -> Fidelity:
    """PSNR, 10 log10(255^2 / mean squared error), of images that are both (N, S, S, 3) uint8."""
    errors = [
        float(np.square(np.subtract(*pair, dtype=np.int32)).mean()) for pair in zip(stored, original, strict=True)
    ]
    return Fidelity(psnr=_decibels(float(np.mean(errors))), worst_psnr=_decibels(max(errors)))


def _decibels(error: float) -> float:
    return 10 * math.log10(255**2 / error) if error else math.inf
