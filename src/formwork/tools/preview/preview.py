"""Pictures of what a model is really given: batches of each loader, images of each class, and how many there are."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch

from formwork.beton.read import open_beton
from formwork.drawing.image_grid import COLUMNS, Row, image_rows, to_pixels
from formwork.errors import BetonError, DatasetError, FormworkError, did_you_mean
from formwork.escapes import printable
from formwork.folders import Folders
from formwork.images.containers import image_source
from formwork.images.manifest import TRAINING
from formwork.images.pixels import read_rgb
from formwork.interim.settings import Settings, read_settings
from formwork.limits import unreadable
from formwork.loading.base import Images, LoaderConfig, SplitFiles, once
from formwork.loading.factory import make_loader
from formwork.loading.project import ProjectData
from formwork.loading.targets import targets_of
from formwork.params import Params
from formwork.text import count
from formwork.tools.inspect.verify import open_samples
from formwork.tools.preview.contact_sheet import ROWS, class_rows, of_classes, spread
from formwork.tools.preview.counts import label_counts, summary, target_histograms
from formwork.tools.preview.near_duplicates import draw_near_duplicates

LOADERS = {"FFCVDataLoader": True, "PyTorchDataLoader": False}
"""What each loader is called, and the data.use_ffcv that asks for it."""
RANGES = 8  # of a number, in the picture of training images
USUAL = 0.99  # share of the values of a difference that are to stay below white: a few large ones would hide the rest


FINDINGS = Path("results/link/findings.csv")


def preview(
    params: Params, folders: Folders, path: Path, classes: Sequence[str] = (), findings: Path = FINDINGS
) -> list[str]:
    """Write PNGs: batches to `path`, and into the folder of that name classes.png, counts.png and, where link found
    images that look like others, near_duplicates.png.

    Args:
        findings: CSV that link wrote.
        classes: those in classes.png; none: all, or ROWS of them where there are more.

    Returns:
        A line on each picture, and a warning for each loader that has no images.

    Raises:
        FormworkError: a class is unknown; no loader has any images; see ProjectData for the rest.
    """
    data = ProjectData(params, folders, read_settings(folders.settings).splits)
    settings, folder = data.settings, path.with_suffix("")
    groups = _ranges(data, classes) if settings.task == "regression" else _classes(data, classes)
    if settings.task == "regression":
        targets = {name: split.manifest.targets for name, split in data.splits.items()}
        counted = target_histograms(folder / "counts.png", settings.name, settings.target_names, targets)
    else:
        counts = _counts(data)
        kind = "class" if settings.task == "classes" else "label"
        label_counts(folder / "counts.png", settings.name, settings.class_names, counts, kind)
        counted = summary(counts, kind)
    alike = draw_near_duplicates(findings, folders.raw, folder / "near_duplicates.png")
    missing = _draw_batches(data, path)
    _draw_classes(data, groups, folder / "classes.png")
    return [
        f"{counted}: {folder / 'counts.png'}",
        *(f"WARNING: {line}" for line in missing),
        f"Batches of each loader, and their difference: {path}",
        f"Training images of {groups.title}: {folder / 'classes.png'}",
        *([alike] if alike else []),
    ]


@dataclass(frozen=True)
class Groups:
    """Training images in groups. title: what they are groups of. samples: ids of each group, by heading."""

    title: str
    samples: dict[str, np.ndarray]


def _counts(data: ProjectData) -> dict[str, np.ndarray]:
    """By split, (K,) images of each class or label."""
    names = data.settings.class_names
    return {name: targets_of(split.manifest, names).counts()[0] for name, split in data.splits.items()}


def _classes(data: ProjectData, chosen: Sequence[str]) -> Groups:
    """A group for each class or label that is shown."""
    names, counts = data.settings.class_names, _counts(data)
    shown = [_label(name, names) for name in chosen] or spread(np.arange(len(names)), ROWS).tolist()
    targets, samples = targets_of(data.splits["train"].manifest, names), {}
    for label in shown:
        images = ", ".join(f"{of_split[label]:,} in {name}" for name, of_split in counts.items())
        samples[f"{printable(names[label])}: {images}"] = targets.having(label)
    title = of_classes(shown, names)
    return Groups(
        title if data.settings.task == "classes" else title.replace("classes", "labels").replace("class", "label"),
        samples,
    )


def _ranges(data: ProjectData, chosen: Sequence[str]) -> Groups:
    """Equal shares of the images, by the first of the numbers."""
    if chosen:
        raise FormworkError(f"{data.settings.name} has numbers to predict, and no classes to show.")
    name, values = data.settings.target_names[0], data.splits["train"].manifest.targets[:, 0]
    tops = np.unique(values)
    if len(tops) > RANGES:
        tops = np.unique(np.quantile(values, np.arange(1, RANGES + 1) / RANGES, method="higher"))
    samples = {}
    for place in range(len(tops)):
        part = np.flatnonzero(np.searchsorted(tops, values) == place)
        low, high = values[part].min(), values[part].max()
        ends = f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"
        samples[f"{printable(name)} {ends}: {count(len(part), 'image')} in train"] = part
    return Groups(f"{count(len(samples), 'range')} of {name}", samples)


def _label(name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise FormworkError(f"There is no class {name!r}. {did_you_mean(name, names)}")
    return names.index(name)


@dataclass(frozen=True)
class Drawn:
    """The first images that a loader gives, up to COLUMNS.

    Attributes:
        images: (n, 3, S, S) as the model is given them. targets: (n, ...), see formwork.loading.base.Batch.
        order: what decides which samples these are.
    """

    images: torch.Tensor
    targets: torch.Tensor
    order: dict[str, Any]


def _draw_batches(data: ProjectData, path: Path) -> list[str]:
    """Gives a line for each loader that has no images, with the reason."""
    rows, missing = [], []
    for split in TRAINING:  # test images are given to a model as validation images are
        of_split = data.splits[split]
        # The first batches of training as they are. In validation all of them would be of the first class.
        config = replace(data.config(split, rank=0, world_size=1), num_workers=0)
        config = config if split == "train" else replace(config, order="random")
        drawn: list[list[Drawn]] = []
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
                rows += [_row(data, f"{split}: {name}, from {source}", config, of_size) for of_size in drawn[-1]]
        if len(drawn) == len(LOADERS):
            rows += [_difference(data, split, *both) for both in zip(*drawn, strict=True)]
    if not any(row.images for row in rows):
        raise FormworkError("\n".join(missing))
    image_rows(path, f"{data.settings.name}: what the model is given in training, and random validation images", rows)
    return missing


def _first(split: SplitFiles, config: LoaderConfig, use_ffcv: bool) -> list[Drawn]:
    """The first images, views of an image side by side; those of each size."""
    loader = make_loader(split, config, use_ffcv, fallback="error")
    order = loader.state_dict()
    batches = []
    epoch: Any = iter(loader)  # a generator, whose threads or processes end when it is closed
    with closing(epoch):
        for batch in epoch:
            batches.append(_by_size(*once(batch)[:2]))
            if sum(len(targets) for (_, targets), *_ in batches) >= COLUMNS:
                break
    drawn = []
    for of_size in zip(*batches, strict=True):
        images, targets = (torch.cat(parts)[:COLUMNS] for parts in zip(*of_size, strict=True))
        drawn.append(Drawn(images, targets, order))
    return drawn


def _by_size(images: Images, targets: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(N, 3, S, S) images of each size, and the target of each."""
    if isinstance(images, torch.Tensor) and images.dim() == 4:
        return [(images, targets)]
    groups = images if isinstance(images, tuple) else (images,)
    return [(group.flatten(0, 1), targets.repeat_interleave(group.shape[1], dim=0)) for group in groups]


def _row(data: ProjectData, heading: str, config: LoaderConfig, drawn: Drawn) -> Row:
    side = drawn.images.shape[-1]
    heading += f": {side} x {side} pixels, {config.dtype}"
    if config.other_views:
        heading += f", {config.views.sides.count(side)} views of each image"
    if config.timesteps > 1:
        shown = "".join("1" if shown else "0" for shown in data.params.model.shown)
        blanks = f", and blanks: {shown}" if "0" in shown else ""
        heading += f", each image {count(shown.count('1'), 'time')}{blanks}"
    captions = [_caption(target, data.settings) for target in drawn.targets]
    return Row(heading, list(to_pixels(drawn.images, data.settings)), captions)


def _caption(target: torch.Tensor, settings: Settings) -> str:
    """The class; each class or label of a mixed image, with its share; each label; or the numbers."""
    if not target.is_floating_point():
        return printable(settings.class_names[int(target)])
    if settings.task == "regression":
        values = zip(settings.target_names, target.tolist(), strict=True)
        return "\n".join(f"{printable(name)} {value:.5g}" for name, value in values)
    shares = [(-float(target[i]), printable(settings.class_names[i])) for i in target.nonzero().flatten().tolist()]
    whole = -0.995 if settings.task == "multilabel" else -inf
    lines = [name if share <= whole else f"{name} {-share:.0%}" for share, name in sorted(shares)]
    return "\n".join(lines) or "no label"


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


def _draw_classes(data: ProjectData, groups: Groups, path: Path) -> None:
    split = data.splits["train"]
    paths, is_number = split.manifest.paths, data.settings.task == "regression"

    def caption(sample: int) -> str:
        name = Path(paths[sample]).name
        return f"{split.manifest.targets[sample, 0]:.5g}\n{name}" if is_number else name

    with _stored_images(split) as pixels:
        sheet = class_rows(groups.samples, pixels, caption)
    image_rows(path, f"{data.settings.name}: training images of {groups.title}", sheet)


@contextmanager
def _stored_images(split: SplitFiles) -> Iterator[Callable[[int], np.ndarray | None]]:
    """Read single images of a split, whole and without augmentation: from its beton, or from the originals where that
    cannot be used.

    Raises:
        DatasetError: the originals are missing, too.
    """

    def original(sample: int) -> np.ndarray:
        path = split.manifest.paths[sample]
        try:
            return np.asarray(read_rgb(image_source(split.raw, path, split.manifest.span(sample))))
        except (OSError, MemoryError) as error:
            advice = f"Run `dvc pull {split.raw}` or `dvc repro`."
            raise DatasetError(unreadable(printable(split.raw / path), error, advice)) from error

    with ExitStack() as stack:
        try:
            beton = open_beton(split.beton).of_manifest(split.manifest)
            pixels = stack.enter_context(open_samples(beton)).pixels
        except BetonError:
            pixels = original
        yield pixels
