"""The loaders of a training run, made from params.yaml and the outs of link and convert."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl

from formwork.datasets.manifest import SPLITS, read_manifest
from formwork.datasets.settings import Settings, read_settings
from formwork.errors import AugmentationError, DatasetError, ParamsError
from formwork.loading.augment import Augmentation
from formwork.loading.common import Batch, Epochs, Options, Split
from formwork.loading.dtypes import normalise, shift_and_scale
from formwork.loading.make import make_loader
from formwork.params import Params


@dataclass(frozen=True)
class Folders:
    """data/raw/<name>, data/interim/<name> and data/processed/<name>."""

    raw: Path
    interim: Path
    processed: Path


class ImageData(pl.LightningDataModule):
    """Makes the loader of each split when Lightning asks for it, once the ranks are known.

    Everything that params.yaml and the manifests can be wrong about is found when this is made.

    Args:
        splits: those that will be loaded; of others nothing is read.

    Attributes:
        settings: of the dataset.
        used: name of the loader really used, by split, once it is made.
        seconds_to_make: it, by split; without the import of FFCV.

    Raises:
        FormworkError: see formwork.errors; before anything is loaded.
    """

    def __init__(self, params: Params, folders: Folders, splits: Sequence[str] = SPLITS):
        super().__init__()
        self.params = params
        self.settings: Settings = read_settings(folders.interim / "dataset.json")
        self.normal = shift_and_scale(self.settings.mean, self.settings.std)
        self.splits = {
            name: Split(
                name, read_manifest(folders.interim / f"{name}.csv"), folders.processed / f"{name}.beton", folders.raw
            )
            for name in splits
        }
        own = {"train": params.augment.train, "val": params.augment.val}
        of_dataset = {"train": self.settings.augment_train, "val": self.settings.augment_val}
        self.augmentations = {
            name: Augmentation(
                of_dataset[name] if own[name] is None else own[name],
                self.settings.resolution,
                params.seed,
                f"augment.{name}",
            )
            for name in splits
        }
        for split in self.splits.values():
            if not len(split.manifest):
                raise DatasetError(f"{split.manifest.path} lists no images. Run `dvc repro -f link`.")
            if split.name != "train" and self.augmentations[split.name].mixup:
                raise AugmentationError(f"augment.{split.name}: Mixup is for training alone. Remove it from the list.")
            self.options(split.name, 0, 1).sampler(np.arange(len(split.manifest)))  # refuses what it cannot fill
        self.used: dict[str, str] = {}
        self.seconds_to_make: dict[str, float] = {}
        self.training: Epochs | None = None
        self.go_on_from: dict[str, Any] | None = None

    def options(self, split: str, rank: int, world_size: int) -> Options:
        params, train = self.params, split == "train"
        return Options(
            augmentation=self.augmentations[split],
            mean=tuple(self.settings.mean),
            std=tuple(self.settings.std),
            batch_size=params.data.batch_size,
            order=params.ffcv.order if train else "sequential",
            seed=params.seed,
            drop_last=train,
            num_workers=params.data.num_workers,
            batches_ahead=params.ffcv.batches_ahead,
            os_cache=params.ffcv.os_cache,
            timesteps=params.model.timesteps,
            dtype=params.data.dtype,
            rank=rank,
            world_size=world_size,
            classes=len(self.settings.class_names),
            resolution_schedule=tuple((epoch - 1, side) for epoch, side in params.ffcv.resolution_schedule or [])
            if train
            else (),
        )

    def loader(self, split: str, rank: int = 0, world_size: int = 1):
        """The loader of a split, as make_loader chooses it."""
        options = self.options(split, rank, world_size)
        loader = make_loader(self.splits[split], options, self.params.data.use_ffcv, self.params.ffcv.fallback)
        self.used[split] = loader.name
        return loader

    @property
    def loader_used(self) -> str:
        """ "ffcv" or "pytorch", or both with their splits where one of them fell back."""
        names = set(self.used.values())
        return names.pop() if len(names) == 1 else ", ".join(f"{split}: {self.used[split]}" for split in SPLITS)

    def _for_this_rank(self, split: str):
        world_size = self.trainer.world_size
        if world_size > 1 and not self.params.ffcv.distributed:
            raise ParamsError(
                f"{world_size} devices and ffcv.distributed: false: every device would train on the same images. "
                "Set ffcv.distributed: true, or trainer.devices: 1."
            )
        if self.params.data.use_ffcv:
            with suppress(ImportError, OSError):  # make_loader will say so
                import formwork.loading.ffcv_loader  # noqa: F401
        start = time.perf_counter()
        loader = self.loader(split, self.trainer.global_rank, world_size)
        self.seconds_to_make[split] = time.perf_counter() - start
        return loader

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """On the device: normalised, and of the type of the weights, if autocast does not see to that."""
        images, labels = batch
        images = normalise(images, self.normal)
        if not self.params.trainer.precision.endswith("mixed"):
            images = images.to(self.trainer.lightning_module.dtype)
        return images, labels

    def train_dataloader(self):
        self.training = self._for_this_rank("train")
        if self.go_on_from is not None:
            self.training.load_state_dict(self.go_on_from)
            self.go_on_from = None
        return self.training

    # Lightning keeps the state of a loader, too, but forgets to restore it where an optimiser asked for the number of
    # steps, as ours does: the loader is made before the state is read then.
    def state_dict(self) -> dict[str, Any]:
        return {} if self.training is None else self.training.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.go_on_from = state_dict or None

    def val_dataloader(self):
        return self._for_this_rank("val")
