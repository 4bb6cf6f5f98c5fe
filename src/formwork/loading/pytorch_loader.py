"""PyTorchDataLoader: the same batches from the original images."""

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image

from formwork.errors import AugmentationError, DatasetError
from formwork.escapes import printable
from formwork.images.containers import image_source
from formwork.images.pixels import read_rgb
from formwork.interim.tree import ensure_tree, tree_path
from formwork.limits import unreadable
from formwork.loading.augmentation.mixup import mixed, with_partners
from formwork.loading.augmentation.views import Views
from formwork.loading.base import BaseLoader, Batch, LoaderConfig, SplitFiles
from formwork.loading.dtypes import normalise
from formwork.loading.order import REPEAT, Indices, samples_of
from formwork.loading.targets import targets_of
from formwork.loading.transforms import batch_images, carry_out
from formwork.loading.worker_loader import BatchDataset, WorkerLoader


class TreeDataset(BatchDataset):
    """Whole batches from the interim tree of a split, by Indices."""

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        self.manifest = split.manifest
        self.targets = targets_of(split.manifest, config.class_names)
        self.config = config
        self.raw = split.raw
        self.tree = ensure_tree(split.manifest, split.raw)
        self.sizes = np.stack([split.manifest.numbers("height"), split.manifest.numbers("width")], axis=1)

    def make(self, index: Indices) -> Batch:
        epoch, draws, partners = index
        views, weighted = self.config.views_at(epoch), self.config.weighted
        if views.mixes:
            needed, places = with_partners(draws, partners)
            values, shares = views.mix(epoch, draws)
            shown = [
                [mixed(pixels[i], pixels[place], values[i]) for i, place in enumerate(places.tolist())]
                for pixels in self._images(views, epoch, needed)
            ]
            mix = samples_of(needed), places, shares
            numbers = [self.targets.mixed(*mix), *([self.targets.mixed_weights(*mix)] if weighted else [])]
        else:
            shown, ids = self._images(views, epoch, draws), samples_of(draws)
            numbers = [self.targets.of(ids), *([self.targets.weights_of(ids)] if weighted else [])]
        dtype = getattr(torch, self.config.made)
        if dtype != torch.uint8:  # each on its own, while it is in the processor's cache
            shown = [[normalise(image, self.config.normal).to(dtype) for image in images] for images in shown]
        return batch_images(shown, views.sides, dtype), *map(torch.from_numpy, numbers)

    def _images(self, views: Views, epoch: int, draws: np.ndarray) -> list[list[torch.Tensor]]:
        """By view, the training images of a batch, each (3, S, S) uint8."""
        heights, widths = self.sizes[samples_of(draws)].T
        plans = views.plans(epoch, draws, heights, widths)
        shown: list[list[torch.Tensor]] = [[] for _ in views]
        for i, draw in enumerate(draws.tolist()):
            image, called = self._read(draw % REPEAT)
            for augmentation, plan, images in zip(views, plans, shown, strict=True):
                try:
                    images.append(carry_out(augmentation, plan, i, image))
                except AugmentationError as error:
                    raise AugmentationError(f"{called}: {error}") from error
        return shown

    def _read(self, sample: int) -> tuple[Image.Image, str]:
        """The image, and what errors call it."""
        span = self.manifest.span(sample)
        in_tree = None if self.tree is None or span else self.tree / tree_path(self.manifest, sample)
        path = in_tree or self.raw / self.manifest.paths[sample]
        called = f"Sample {sample}, {printable(path)}"
        try:
            image = read_rgb(in_tree or image_source(self.raw, self.manifest.paths[sample], span))
        except (OSError, MemoryError) as error:
            advice = "Run `dvc repro -f link` to list all bad images, or `dvc pull` where the originals are missing."
            raise DatasetError(unreadable(called, error, advice)) from error
        if image.size != (self.sizes[sample, 1], self.sizes[sample, 0]):
            raise DatasetError(f"{called}, changed after its manifest was made. Run `dvc repro`.")
        return image, called


class PyTorchDataLoader(BaseLoader, WorkerLoader):  # type: ignore[misc]  # iterates as a BaseLoader
    """Batches of a split from its original images; see formwork.loading.base.Batch.

    Raises:
        DatasetError: the original images are missing; while iterating, one cannot be read.
    """

    name = "pytorch"

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        BaseLoader.__init__(self)
        self.config = config
        dataset = TreeDataset(split, config)
        sampler = config.sampler(split.manifest.storage_order, dataset.targets)
        WorkerLoader.__init__(self, dataset, sampler, config.num_workers, config.batches_ahead)

    def batches(self) -> Iterator[Batch]:
        return WorkerLoader.batches(self)
