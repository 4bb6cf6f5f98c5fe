"""PyTorchDataLoader: the same batches from the original images."""

from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.process import BaseProcess

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from formwork.errors import AugmentationError, DatasetError, FormworkError
from formwork.images.pixels import read_rgb
from formwork.interim.tree import ensure_tree
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.base import AugmentPlan
from formwork.loading.augmentation.mixup import blended, mixed_labels, with_partners
from formwork.loading.base import BaseLoader, Batch, LoaderConfig, SplitFiles
from formwork.loading.dtypes import normalise
from formwork.loading.order import Indices
from formwork.loading.transforms import carry_out, channels_last


class TreeDataset(Dataset):
    """Whole batches from the interim tree of a split, by Indices."""

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        self.rows = split.manifest.rows
        self.labels = split.manifest.labels
        self.config = config
        self.tree = ensure_tree(split.manifest, split.raw)
        self.sizes = np.array([(row.height, row.width) for row in self.rows], dtype=np.int64)

    def __getitem__(self, index: Indices) -> Batch | FormworkError:
        try:
            return self._batch(*index)
        except FormworkError as error:
            return error  # raised by the loader: raised here, PyTorch would wrap a worker's traceback around it

    def _batch(self, epoch: int, ids: np.ndarray, partners: np.ndarray) -> Batch:
        augmentation = self.config.augmentation_at(epoch)
        if augmentation.mixup:
            needed, places = with_partners(ids, partners)
            shares = augmentation.shares(epoch, ids)
            pixels = torch.stack(self._images(augmentation, epoch, needed))
            images = list(blended(pixels[: len(places)], pixels[torch.from_numpy(places)], shares))
            labels = mixed_labels(self.labels[needed], places, shares, self.config.classes)
        else:
            images, labels = self._images(augmentation, epoch, ids), torch.from_numpy(self.labels[ids])
        dtype = getattr(torch, self.config.dtype)
        if dtype != torch.uint8:  # each on its own, while it is in the processor's cache
            images = [normalise(image, self.config.normal).to(dtype) for image in images]
        return channels_last(images, dtype, augmentation.resolution), labels

    def _images(self, augmentation: Augmentation, epoch: int, ids: np.ndarray) -> list[torch.Tensor]:
        """The training images of a batch, each (3, S, S) uint8."""
        heights, widths = self.sizes[ids].T
        plan = augmentation.plan(epoch, ids, heights, widths)
        return [self._image(augmentation, epoch, int(sample), plan, i) for i, sample in enumerate(ids)]

    def _image(self, augmentation: Augmentation, epoch: int, sample: int, plan: AugmentPlan, i: int) -> torch.Tensor:
        """(3, S, S) uint8."""
        path = self.tree / self.rows[sample].tree_path
        try:
            image = read_rgb(path)
        except OSError as error:
            if isinstance(error.__cause__, MemoryError):  # it came while the image was decoded
                height, width = self.sizes[sample]
                raise DatasetError(
                    f"Sample {sample}, {path}: not enough memory to decode {width} x {height} pixels. Lower "
                    "data.num_workers in params.yaml, or give the process more memory."
                ) from error
            raise DatasetError(
                f"Sample {sample}, {path}: {error.strerror or error}. Run `dvc repro -f link` to list all bad images, "
                "or `dvc pull` where the originals are missing."
            ) from error
        if image.size != (self.sizes[sample, 1], self.sizes[sample, 0]):
            raise DatasetError(f"Sample {sample}, {path}, changed after its manifest was made. Run `dvc repro`.")
        try:
            return carry_out(augmentation, plan, i, image, epoch, sample)
        except AugmentationError as error:
            raise AugmentationError(f"Sample {sample}, {path}: {error}") from error


class PyTorchDataLoader(BaseLoader, DataLoader):  # type: ignore[misc]  # iterates as a BaseLoader
    """Batches of a split from its original images; see formwork.loading.base.Batch.

    Raises:
        DatasetError: the original images are missing; while iterating, one cannot be read.
        AugmentationError: while iterating, an operation fails on an image.
        FormworkError: while iterating, a worker process was killed.
    """

    name = "pytorch"

    def __init__(self, split: SplitFiles, config: LoaderConfig):
        BaseLoader.__init__(self)
        self.config = config
        workers = config.num_workers
        DataLoader.__init__(
            self,
            TreeDataset(split, config),
            batch_size=None,  # the dataset makes whole batches
            sampler=config.sampler(split.manifest.storage_order),
            num_workers=workers,
            prefetch_factor=max(-(-config.batches_ahead // workers), 1) if workers else None,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # for the seeds of workers, which nobody uses: not from the training's own
        )

    def batches(self) -> Iterator[Batch]:
        iterator = DataLoader.__iter__(self)
        try:
            for batch in iterator:
                if isinstance(batch, FormworkError):
                    raise batch
                yield batch
        except (RuntimeError, EOFError, OSError) as error:  # what PyTorch raises depends on when it notices
            killed = [code for code in map(_exit_code, getattr(iterator, "_workers", [])) if code is not None]
            if not killed:
                raise
            with suppress(RuntimeError):  # PyTorch hears of the death late: then it would interrupt anything with it
                iterator._shutdown_workers()  # type: ignore[attr-defined]  # of the iterator with workers
            raise FormworkError(
                f"A worker process of the PyTorch DataLoader was killed (exit code {killed[0]}), often for lack of "
                "memory. Lower data.num_workers or data.batch_size."
            ) from error


def _exit_code(worker: BaseProcess) -> int | None:
    """None for a worker that runs. A connection to one that was killed breaks before its end is known: wait for it."""
    worker.join(timeout=0.5)
    return worker.exitcode
