"""A picture of what a beton holds: a few images of each class."""

from pathlib import Path

import numpy as np

from formwork.beton.encode import scale_down
from formwork.beton.read import Beton
from formwork.beton.report import class_names
from formwork.beton.verify import open_samples
from formwork.evaluation.pictures import COLUMNS, image_grid

IMAGES = 6 * COLUMNS  # at most
SIDE = 160  # pixels that an image has in the picture; larger ones are scaled down
CAPTION = 20  # characters


def contact_sheet(beton: Beton, path: Path) -> None:
    """Write a PNG of up to IMAGES images, as many of one class as of any other, drawn evenly from each.

    Raises:
        BetonError: the file can no longer be read.
        FormworkError: `path` cannot be written.
    """
    names = class_names(beton)
    chosen = _choose(beton.labels)
    damaged = np.full((1, 1, 3), 224, np.uint8)
    images, captions = [], []
    with open_samples(beton) as samples:
        for sample in chosen:
            pixels = samples.pixels(sample)
            images.append(damaged if pixels is None else scale_down(pixels, SIDE))
            number = f"sample {sample}" + (", damaged" if pixels is None else "")
            captions.append(f"{_short(names[int(beton.labels[sample])])}\n{number}")
    image_grid(path, f"{beton.path.parent.name}/{beton.path.name}: {len(beton)} images", images, captions)


def _choose(labels: np.ndarray) -> list[int]:
    """Sample ids, class by class."""
    classes = np.unique(labels)
    classes = classes[_spread(len(classes), IMAGES)]
    each = min(IMAGES // len(classes), COLUMNS)
    of_class = [np.flatnonzero(labels == label) for label in classes]
    return [int(sample) for samples in of_class for sample in samples[_spread(len(samples), each)]]


def _spread(count: int, most: int) -> np.ndarray:
    """Up to `most` of the numbers below `count`, at equal distances."""
    return np.arange(count) if count <= most else np.arange(most) * count // most


def _short(name: str) -> str:
    return name if len(name) <= CAPTION else f"{name[: CAPTION - 1]}…"
