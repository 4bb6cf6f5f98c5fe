"""The loaders of a repository: made from params.yaml and the outs of link and convert."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from formwork.beton.faults import missing
from formwork.errors import DatasetError, ParamsError
from formwork.folders import Folders
from formwork.images.manifest import SPLITS, TRAINING, read_manifest
from formwork.interim.settings import Settings, read_settings
from formwork.loading.augmentation.project import views_of
from formwork.loading.base import CPU, BaseLoader, LoaderConfig, SplitFiles
from formwork.loading.dtypes import shift_and_scale
from formwork.loading.factory import make_loader
from formwork.loading.order import BatchSampler
from formwork.loading.targets import targets_of
from formwork.params import Params


class ProjectData:
    """The splits of the dataset `data.name`, and how params.yaml has them loaded.

    Everything that params.yaml and the manifests can be wrong about is found when this is made.

    Args:
        splits: those that will be loaded; of others nothing is read.

    Attributes:
        settings: of the dataset, with the augmentation lists of params.yaml where it has any.
        normal: see formwork.loading.dtypes.shift_and_scale.
        splits, views: by split.
        used: name of the loader really used, by split, once it is made.

    Raises:
        FormworkError: see formwork.errors; before anything is loaded.
    """

    def __init__(self, params: Params, folders: Folders, splits: Sequence[str] = TRAINING):
        self.params = params
        self.settings: Settings = read_settings(folders.settings)
        self.settings = self.settings.model_copy(
            update={
                f"augment_{name}": operations
                for name, operations in (("train", params.augment.train), ("val", params.augment.val))
                if operations is not None
            }
        )
        if message := params.unsuitable(self.settings.task):
            raise ParamsError(f"{message}.")
        for name in splits:
            if name not in self.settings.splits:
                raise DatasetError(
                    f"{self.settings.name} has no {name} split. data.split in params.yaml makes one: `dvc repro`."
                )
        self.normal = shift_and_scale(self.settings.mean, self.settings.std)
        self.splits = {
            name: SplitFiles(name, read_manifest(folders.manifest(name)), folders.beton(name), folders.raw)
            for name in splits
        }
        operations = {"train": self.settings.augment_train, "val": self.settings.augment_val}
        self.views = {
            name: views_of(params, of, operations[of], self.settings.resolution)
            for name in splits
            for of in ["train" if name == "train" else "val"]
        }
        for split in self.splits.values():
            if not len(split.manifest):
                raise DatasetError(f"{split.manifest.path} lists no images. Run `dvc repro -f link`.")
            self.sampler(split.name)  # refuses what it cannot fill
        self.used: dict[str, str] = {}

    def need_betons(self) -> None:
        """Refuse to fall back from a beton that is not there, where params.yaml asks for it.

        DVC does not miss it: the stages depend on what betons mean, data/processed/<name>/<split>.json.

        Raises:
            BetonError: with the commands that bring it.
        """
        if self.params.data.use_ffcv:
            for split in self.splits.values():
                if isinstance(split.beton, Path) and not split.beton.exists():
                    raise missing(split.beton)

    def config(self, split: str, rank: int = 0, world_size: int = 1) -> LoaderConfig:
        """How params.yaml has a split loaded by one of `world_size` processes."""
        params, train = self.params, split == "train"
        schedule = params.ffcv.resolution_schedule or []
        return LoaderConfig(
            augmentation=self.views[split].augmentations[0],
            other_views=self.views[split].augmentations[1:],
            mean=self.settings.mean,
            std=self.settings.std,
            batch_size=params.data.batch_size,
            order=params.ffcv.order if train else "sequential",
            seed=params.seed,
            drop_last=train,
            num_workers=params.data.num_workers,
            batches_ahead=params.ffcv.batches_ahead,
            os_cache=params.ffcv.os_cache,
            verify=params.ffcv.verify,
            timesteps=len(params.model.shown),
            dtype=params.data.dtype,
            rank=rank,
            world_size=world_size,
            class_names=self.settings.class_names,
            weighted=train and self.splits[split].manifest.columns.weights,
            resolution_schedule=tuple((epoch - 1, side) for epoch, side in schedule) if train else (),
        )

    def sampler(self, split: str, rank: int = 0, world_size: int = 1) -> BatchSampler:
        """Which batches the loader of a split would give; nothing is opened for it."""
        manifest = self.splits[split].manifest
        targets = targets_of(manifest, self.settings.class_names)
        return self.config(split, rank, world_size).sampler(np.arange(len(manifest)), targets)

    def loader(
        self, split: str, rank: int = 0, world_size: int = 1, dtype: str | None = None, device: torch.device = CPU
    ) -> BaseLoader:
        """The loader of a split, as make_loader chooses it.

        Args:
            dtype: of the images, in place of data.dtype.
            device: see LoaderConfig.
        """
        config = self.config(split, rank, world_size)
        config = replace(config, dtype=dtype or config.dtype, device=device)
        loader = make_loader(self.splits[split], config, self.params.data.use_ffcv, self.params.ffcv.fallback)
        self.used[split] = loader.name
        loader.class_names, loader.target_names = tuple(self.settings.class_names), tuple(self.settings.target_names)
        return loader

    @property
    def loader_used(self) -> str:
        """ "ffcv" or "pytorch", or both with their splits where one of them fell back."""
        names = set(self.used.values())
        return (
            names.pop()
            if len(names) == 1
            else ", ".join(f"{split}: {self.used[split]}" for split in SPLITS if split in self.used)
        )
