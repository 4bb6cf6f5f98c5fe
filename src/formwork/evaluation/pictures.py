"""Pictures of batches and of mistakes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from formwork.datasets.settings import Settings
from formwork.files import atomic_write

COLUMNS = 8
CELL = 1.35  # inches


def to_pixels(images: torch.Tensor, settings: Settings) -> np.ndarray:
    """Undo the normalisation: (B, 3, H, W) float32 to (B, H, W, 3) uint8."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (settings.mean, settings.std))
    return ((images * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def image_grid(path: Path, title: str, images: Sequence[np.ndarray], captions: Sequence[str]) -> None:
    """Write a PNG of images (H, W, 3) uint8 in rows, each under its caption; the same content gives the same bytes."""
    columns = min(COLUMNS, max(len(images), 1))
    rows = max(-(-len(images) // columns), 1)
    # A figure of its own, and not pyplot's: no display, no global state.
    figure = Figure(figsize=(max(columns * CELL, 4), rows * (CELL + 0.3) + 0.35), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for axis in axes:
        axis.axis("off")
    for axis, image, caption in zip(axes, images, captions, strict=False):
        axis.imshow(image, interpolation="nearest")
        axis.set_title(caption, fontsize=8)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=120, metadata={"Software": None})
