"""Pictures of what a model is really given: batches of each loader, images of each class, and how many there are."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from formwork.beton.read import check_beton, open_beton
from formwork.drawing.image_grid import COLUMNS, Row, image_rows, to_pixels
from formwork.errors import BetonError, DatasetError, FormworkError, did_you_mean
from formwork.escapes import printable
from formwork.folders import Folders
from formwork.images.pixels import read_rgb
from formwork.limits import unreadable
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.factory import make_loader
from formwork.loading.project import ProjectData
from formwork.params import Params
from formwork.tools.inspect.verify import open_samples
from formwork.tools.preview.contact_sheet import ROWS, class_rows, of_classes, spread
from formwork.tools.preview.counts import label_counts, summary

LOADERS = {"FFCVDataLoader": True, "PyTorchDataLoader": False}
"""What each loader is called, and the data.use_ffcv that asks for it."""
USUAL = 0.99  # share of the values of a difference that are to stay below white: a few large ones would hide the rest


def preview(params: Params, folders: Folders, path: Path, classes: Sequence[str] = ()) -> list[str]:
    """Write three PNGs: batches to `path`, and into the folder of that name classes.png and counts.png.

    Args:
        classes: those in classes.png; none: all, or ROWS of them where there are more.

    Returns:
        A line on each picture, and a warning for each loader that has no images.

    Raises:
        FormworkError: a class is unknown; no loader has any images; see ProjectData for the rest.
    """
    data = ProjectData(params, folders)
    names = data.settings.class_names
    shown = [_label(name, names) for name in classes] or spread(np.arange(len(names)), ROWS).tolist()
    counts = {split: np.bincount(data.splits[split].manifest.labels, minlength=len(names)) for split in data.splits}
    folder = path.with_suffix("")
    label_counts(folder / "counts.png", data.settings.name, names, counts)
    missing = _draw_batches(data, path)
    _draw_classes(data, shown, counts, folder / "classes.png")
    return [
        f"{summary(counts)}: {folder / 'counts.png'}",
        *(f"WARNING: {line}" for line in missing),
        f"Batches of each loader, and their difference: {path}",
        f"Training images of {of_classes(shown, names)}: {folder / 'classes.png'}",
    ]


def _label(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise FormworkError(f"There is no class {name!r}. {did_you_mean(name, names)}")
    return names.index(name)


@dataclass(frozen=True)
class Drawn:
    """The first images that a loader gives, up to COLUMNS.

    Attributes:
        images: (n, 3, S, S) as the model is given them. labels: (n,), or with Mixup (n, classes). order: what decides
            which samples these are.
    """

    images: torch.Tensor
    labels: torch.Tensor
    order: dict[str, Any]


def _draw_batches(data: ProjectData, path: Path) -> list[str]:
    """Gives a line for each loader that has no images, with the reason."""
    rows, missing = [], []
    for split, of_split in data.splits.items():
        # The first batches of training as they are. In validation all of them would be of the first class.
        config = replace(data.config(split, rank=0, world_size=1), num_workers=0)
        config = config if split == "train" else replace(config, order="random")
        drawn: list[Drawn] = []
        for name, use_ffcv in LOADERS.items():
            try:
                drawn.append(_first(of_split, config, use_ffcv))
            except FormworkError as error:
                # make_loader wraps the reason in advice on how to fall back, which is not done here.
                reason = error.__cause__ if isinstance(error.__cause__, FormworkError) else error
                missing.append(f"{split}: no images from {name}. {printable(reason)}")
                rows.append(Row(missing[-1]))
            else:
                source = of_split.beton if use_ffcv else of_split.raw
                rows.append(_row(data, f"{split}: {name}, from {source}", config, drawn[-1]))
        if len(drawn) == len(LOADERS):
            rows.append(_difference(data, split, *drawn))
    if not any(row.images for row in rows):
        raise FormworkError("\n".join(missing))
    image_rows(path, f"{data.settings.name}: what the model is given in training, and random validation images", rows)
    return missing


def _first(split: SplitFiles, config: LoaderConfig, use_ffcv: bool) -> Drawn:
    loader = make_loader(split, config, use_ffcv, fallback="error")
    order = loader.state_dict()
    images, labels = [], []
    epoch: Any = iter(loader)  # a generator, whose threads or processes end when it is closed
    with closing(epoch):
        for batch in epoch:
            # With timesteps each image stands there several times, in the same memory.
            of_batch, their_labels = (part[:, 0] if config.timesteps > 1 else part for part in batch)
            images.append(of_batch)
            labels.append(their_labels)
            if sum(map(len, labels)) >= COLUMNS:
                break
    return Drawn(torch.cat(images)[:COLUMNS], torch.cat(labels)[:COLUMNS], order)


def _row(data: ProjectData, heading: str, config: LoaderConfig, drawn: Drawn) -> Row:
    side = drawn.images.shape[-1]
    heading += f": {side} x {side} pixels, {config.dtype}"
    if config.timesteps > 1:
        heading += f", each image {config.timesteps} times"
    captions = [_caption(label, data.settings.class_names) for label in drawn.labels]
    return Row(heading, list(to_pixels(drawn.images, data.settings)), captions)


def _caption(label: torch.Tensor, names: Sequence[str]) -> str:
    """The class, or, of probabilities, each class that has one: a mixed image has two."""
    if not label.is_floating_point():
        return printable(names[int(label)])
    shares = [(float(label[i]), printable(names[i])) for i in label.nonzero().flatten().tolist()]
    return "\n".join(f"{name} {share:.0%}" for share, name in sorted(shares, reverse=True))


def _difference(data: ProjectData, split: str, one: Drawn, other: Drawn) -> Row:
    heading = f"{split}: difference of the two"
    if one.order != other.order:
        return Row(f"{heading}: these are other samples, as the beton stores its images in an order of its own")
    if torch.equal(one.images, other.images):
        return Row(f"{heading}: none, they are equal bit for bit")
    pixels = [to_pixels(drawn.images, data.settings).astype(np.int16) for drawn in (one, other)]
    difference = np.abs(pixels[0] - pixels[1])
    largest = int(difference.max())
    if not largest:
        return Row(f"{heading}: less than 1 of 255")
    usual = max(int(np.quantile(difference, USUAL)), 1)
    factor = 1 << (255 // usual).bit_length() - 1  # a power of two
    white = f", white from {-(-255 // factor)} on" if largest * factor > 255 else ""
    return Row(
        f"{heading}, {factor} times as bright{white}: at most {largest} of 255, {difference.mean():.2g} on average",
        list((difference * factor).clip(max=255).astype(np.uint8)),
        [f"at most {image.max()}" for image in difference],
    )


def _draw_classes(data: ProjectData, shown: Sequence[int], counts: dict[str, np.ndarray], path: Path) -> None:
    split = data.splits["train"]
    names, rows = list(map(printable, data.settings.class_names)), split.manifest.rows
    classes = {}
    for label in shown:
        images = ", ".join(f"{of_split[label]:,} in {name}" for name, of_split in counts.items())
        classes[f"{names[label]}: {images}"] = np.flatnonzero(split.manifest.labels == label)
    with _stored_images(split) as pixels:
        sheet = class_rows(classes, pixels, lambda sample: Path(rows[sample].path).name)
    image_rows(path, f"{data.settings.name}: training images of {of_classes(shown, names)}", sheet)


@contextmanager
def _stored_images(split: SplitFiles) -> Iterator[Callable[[int], np.ndarray | None]]:
    """Read single images of a split, whole and without augmentation: from its beton, or from the originals where that
    cannot be used.

    Raises:
        DatasetError: the originals are missing, too.
    """

    def original(sample: int) -> np.ndarray:
        path = split.raw / split.manifest.rows[sample].path
        try:
            return np.asarray(read_rgb(path))
        except (OSError, MemoryError) as error:
            advice = f"Run `dvc pull {split.raw}` or `dvc repro`."
            raise DatasetError(unreadable(printable(path), error, advice)) from error

    with ExitStack() as stack:
        try:
            beton = open_beton(split.beton)
            check_beton(beton, split.manifest)
            pixels = stack.enter_context(open_samples(beton)).pixels
        except BetonError:
            pixels = original
        yield pixels
