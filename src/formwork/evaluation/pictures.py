"""Pictures of images in rows, each under its caption."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from formwork.datasets.settings import Settings
from formwork.files import atomic_write

if TYPE_CHECKING:  # it takes a second and 400 MB, which a picture of a beton can do without
    import torch

COLUMNS = 8
CELL = 1.35  # inches a side
CAPTION = 0.32  # inches above each row
TITLE = 0.4

Row = tuple[str, Sequence[np.ndarray], Sequence[str]]
"""A name, images (H, W, 3) uint8, and a caption for each."""


def to_pixels(images: "torch.Tensor", settings: Settings) -> np.ndarray:
    """Undo the normalisation, if there was one: (B, 3, H, W) of any type of Options.dtype to (B, H, W, 3) uint8."""
    if images.element_size() > 1:
        images = images.float()
        mean, std = (images.new_tensor(v).view(1, 3, 1, 1) for v in (settings.mean, settings.std))
        images = ((images * std + mean) * 255).round().clamp(0, 255).byte()
    return images.permute(0, 2, 3, 1).numpy()


def image_grid(path: Path, title: str, images: Sequence[np.ndarray], captions: Sequence[str]) -> None:
    """Write a PNG of images (H, W, 3) uint8 in as many rows as they need."""
    starts = range(0, len(images), COLUMNS)
    image_rows(path, title, [("", images[i : i + COLUMNS], captions[i : i + COLUMNS]) for i in starts])


def image_rows(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Write a PNG with a row for each of `rows`; the same content gives the same bytes."""
    columns = max([len(images) for _, images, _ in rows], default=0)
    size = max(columns * CELL, 4), max(len(rows) * (CELL + CAPTION), 0.2) + TITLE
    figure = Figure(figsize=size, layout="constrained")  # not pyplot's: it needs no display and no global state
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(max(len(rows), 1), max(columns, 1), squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for line, (name, images, captions) in zip(axes, rows, strict=False):
        line[0].text(-0.06, 0.5, name, transform=line[0].transAxes, rotation=90, va="center", ha="right", fontsize=9)
        for axis, image, caption in zip(line, images, captions, strict=False):
            axis.imshow(image, interpolation="nearest")
            axis.set_title(caption, fontsize=8, parse_math=False)  # a dollar sign is a dollar sign
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
