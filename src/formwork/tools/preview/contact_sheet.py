"""Contact sheets: a few images of each class, by class."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from formwork.beton.beton import Beton
from formwork.conversion.encode import scale_down
from formwork.drawing.image_grid import COLUMNS, Row, image_rows, in_rows
from formwork.text import count
from formwork.tools.inspect.contents import NONE, Contents
from formwork.tools.inspect.verify import open_samples

ROWS = 16  # of a sheet, where each class has one or more
SIDE = 160  # pixels that an image has in the picture; larger ones are scaled down
DAMAGED = np.full((SIDE, SIDE, 3), 224, np.uint8)


def contact_sheet(beton: Beton, contents: Contents, path: Path) -> None:
    """Write a PNG of images of each class of a beton; of ROWS of its classes, where it has more; of any, where the
    classes are not known.

    Raises:
        BetonError: the file can no longer be read.
        FormworkError: `path` cannot be written.
    """
    names = contents.names or {0: "all"}
    classes = spread(np.array(list(names)), ROWS).tolist()
    samples = {label: np.flatnonzero(contents.labels == label) for label in classes}
    headings = {f"{names[label]}: {count(len(found), 'image')}": found for label, found in samples.items()}
    with open_samples(beton) as file:
        rows = class_rows(headings, file.pixels, lambda sample: f"sample {sample}")
    shown = f" of {of_classes(classes, names)}" if contents.names else ""
    images = count(int(np.count_nonzero(contents.labels != NONE)), "image")
    title = f"{beton.path.parent.name}/{beton.path.name}: {images}{shown}"
    image_rows(path, title, rows)


def class_rows(
    classes: Mapping[str, np.ndarray],
    pixels: Callable[[int], np.ndarray | None],
    caption: Callable[[int], str],
) -> list[Row]:
    """Rows of images of each class, drawn evenly from it; as many rows for one as for any other.

    Args:
        classes: the sample ids of each, by heading.
        pixels: (H, W, 3) uint8 of a sample; None where it is damaged.
    """
    most = max(ROWS // len(classes), 1) * COLUMNS
    rows: list[Row] = []
    for heading, samples in classes.items():
        images, captions = [], []
        for sample in spread(samples, most).tolist():
            image = pixels(sample)
            images.append(DAMAGED if image is None else scale_down(image, SIDE))
            captions.append(caption(sample) + ("\ndamaged" if image is None else ""))
        rows += in_rows(heading, images, captions) or [Row(heading)]
    return rows


def of_classes(shown: Sequence[int], of: Sequence[str] | Mapping[int, str]) -> str:
    """How many classes there are, and how many of them are shown."""
    number = f"{len(of)} classes" if len(of) > 1 else "one class"
    return number if len(shown) == len(of) else f"{number}, {len(shown)} of them shown"


def spread(values: np.ndarray, most: int) -> np.ndarray:
    """Up to `most` of the values, at equal distances."""
    return values if len(values) <= most else values[np.arange(most) * len(values) // most]
