"""A picture of what a model is really given: batches of each loader, one above the other."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

from formwork.datasets.manifest import SPLITS
from formwork.evaluation.pictures import COLUMNS, Row, image_rows, to_pixels
from formwork.loading.make import make_loader
from formwork.params import Params
from formwork.training.data import Folders, ImageData


def preview(params: Params, folders: Folders, path: Path) -> None:
    """Write a PNG: the same images of each split, as the one and the other loader gives them."""
    data = ImageData(params, folders)
    rows = [_row(data, split, use_ffcv) for split in SPLITS for use_ffcv in (True, False)]
    image_rows(path, f"{data.settings.name}: what the model is given", rows)
    print(f"Images of each split, as the model is given them: {path}")


def _row(data: ImageData, split: str, use_ffcv: bool) -> Row:
    # In random order, or all validation images would be of the first class.
    options = replace(data.options(split, rank=0, world_size=1), order="random", num_workers=0, timesteps=1)
    loader = make_loader(data.splits[split], options, use_ffcv, data.params.ffcv.fallback)
    images, labels = next(islice(loader, 1))
    captions = [data.settings.class_names[label] for label in labels[:COLUMNS].tolist()]
    return f"{split}, {loader.name}", to_pixels(images[:COLUMNS], data.settings), captions
