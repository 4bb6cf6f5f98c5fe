"""Pictures of images in rows, each under its caption."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from formwork.drawing.text import FAMILY, cut, missing_glyphs_ignored, wrap
from formwork.escapes import printable
from formwork.files import atomic_write
from formwork.interim.settings import Settings

if TYPE_CHECKING:  # it takes a second and 400 MB, which a picture of a beton can do without
    import torch

COLUMNS = 8
DPI = 120

# All in pixels
CELL = 144  # a side, about: smaller images are enlarged by a whole number
LARGEST = 256  # a side: larger images are scaled down
NARROWEST = 640  # width of a picture
MARGIN = 16
GAP = 8  # between images
BREAK = 12  # between a row and the next heading
FRAME = np.uint8(208)  # grey of the line around each image, which may be as white as the paper

TITLE, HEADING, CAPTION = 12, 9, 8  # points
LINE = 1.4 * DPI / 72  # pixels a line for each point


class Row(NamedTuple):
    """What stands in one row of a picture.

    Attributes:
        heading: above the images, of any length.
        images: (H, W, 3) uint8.
        captions: one above each image, of one or more lines; those too long for the image lose their middle.
    """

    heading: str
    images: Sequence[np.ndarray] = ()
    captions: Sequence[str] = ()


def to_pixels(images: "torch.Tensor", settings: Settings) -> np.ndarray:
    """Undo the normalisation, if there was one: (B, 3, H, W) of any LoaderConfig.dtype to (B, H, W, 3) uint8."""
    if images.element_size() > 1:
        images = images.float()
        mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (settings.mean, settings.std))
        images = ((images * std + mean) * 255).round().clamp(0, 255).byte()
    return images.permute(0, 2, 3, 1).numpy()


def image_grid(path: Path, title: str, images: Sequence[np.ndarray], captions: Sequence[str]) -> None:
    """Write a PNG of images (H, W, 3) uint8 in as many rows as they need."""
    image_rows(path, title, in_rows("", images, captions))


def in_rows(heading: str, images: Sequence[np.ndarray], captions: Sequence[str]) -> list[Row]:
    """As many rows as the images need, the first of them under the heading."""
    starts = range(0, len(images), COLUMNS)
    return [Row(heading if i == 0 else "", images[i : i + COLUMNS], captions[i : i + COLUMNS]) for i in starts]


def image_rows(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Write a PNG of `rows`; the same content gives the same bytes.

    Raises:
        FormworkError: `path` cannot be written.
    """
    page = _draw(title, rows)
    with atomic_write(path) as file:
        Image.fromarray(page).save(file, "PNG")


def _draw(title: str, rows: Sequence[Row]) -> np.ndarray:
    """(H, W, 3) uint8. Images are pasted in pixel by pixel."""
    shown = [[_fitted(image) for image in row.images] for row in rows]
    columns = max(map(len, shown), default=0)
    cell = max([CELL, *(image.shape[1] for images in shown for image in images)]) + GAP
    width = max(columns * cell - GAP, NARROWEST)
    texts: list[tuple[int, float, str, int]] = []  # left edge, top edge, one line, points
    pasted: list[tuple[int, int, np.ndarray]] = []  # left edge, top edge, image

    def write(left: int, top: float, lines: Sequence[str], points: int) -> float:
        texts.extend((left, top + i * points * LINE, line, points) for i, line in enumerate(lines))
        return top + len(lines) * points * LINE

    y = write(MARGIN, MARGIN, wrap(printable(title), width, partial(_width, TITLE)), TITLE)
    for row, images in zip(rows, shown, strict=True):
        y += BREAK
        y = write(MARGIN, y, wrap(printable(row.heading), width, partial(_width, HEADING)), HEADING)
        top = y
        for column, caption in enumerate(row.captions):
            lines = [cut(printable(line), cell - GAP, partial(_width, CAPTION)) for line in caption.split("\n")]
            y = max(y, write(MARGIN + column * cell, top, lines, CAPTION))
        pasted.extend((MARGIN + column * cell, round(y), image) for column, image in enumerate(images))
        y += max((image.shape[0] for image in images), default=0)
    page = _page_of(texts, width + 2 * MARGIN, round(y) + MARGIN)
    for left, top, image in pasted:
        bottom, right = top + image.shape[0], left + image.shape[1]
        page[top - 1 : bottom + 1, left - 1 : right + 1] = FRAME
        page[top:bottom, left:right] = image
    return page


def _page_of(texts: Sequence[tuple[int, float, str, int]], width: int, height: int) -> np.ndarray:
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)  # not pyplot's: no display and no global state
    for left, top, line, points in texts:
        place = left / width, 1 - top / height
        figure.text(*place, line, va="top", fontproperties=_font(points), parse_math=False)  # a $ is a $
    canvas = FigureCanvasAgg(figure)
    with missing_glyphs_ignored():
        canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


@cache
def _renderer() -> RendererAgg:
    return FigureCanvasAgg(Figure(figsize=(1, 1), dpi=DPI)).get_renderer()


@cache
def _font(points: int) -> FontProperties:
    return FontProperties(family=FAMILY, size=points)


def _width(points: int, text: str) -> float:
    """Width of a line of text, in pixels."""
    with missing_glyphs_ignored():
        return _renderer().get_text_width_height_descent(text, _font(points), ismath=False)[0]


def _fitted(image: np.ndarray) -> np.ndarray:
    """An image as large as it is shown: enlarged without inventing pixels between its own, or scaled down."""
    height, width, _ = image.shape
    longer = max(height, width)
    if longer > LARGEST:
        size = [max(side * LARGEST // longer, 1) for side in (width, height)]
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    times = max(round(CELL / longer), 1)
    return image.repeat(times, axis=0).repeat(times, axis=1)
