"""Lightning's LightningDataModule over the loaders of a repository."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch

from formwork.errors import FormworkError, ParamsError
from formwork.loading.base import BaseLoader, Batch, once
from formwork.loading.dtypes import normalise
from formwork.loading.project import ProjectData


class ImageDataModule(pl.LightningDataModule):
    """Makes the loader of each split when Lightning asks for it, once the ranks are known.

    Attributes:
        data: what is loaded, and how.
        loaders: by split, once made.
        seconds_to_make: time that making the loader took, by split.
    """

    def __init__(self, data: ProjectData):
        super().__init__()
        self.data = data
        self.loaders: dict[str, BaseLoader] = {}
        self.seconds_to_make: dict[str, float] = {}
        self._loaded_state: dict[str, Any] | None = None

    def _for_this_rank(self, split: str) -> BaseLoader:
        assert self.trainer is not None  # Lightning sets it before it asks for a loader
        world_size = self.trainer.world_size
        if world_size > 1 and not self.data.params.ffcv.distributed:
            raise ParamsError(
                f"{world_size} devices and ffcv.distributed: false: every device would train on the same images. "
                "Set ffcv.distributed: true, or trainer.num_nodes and trainer.devices: 1."
            )
        start = time.perf_counter()
        device = self.trainer.strategy.root_device
        loader = self.data.loader(split, self.trainer.global_rank, world_size, device=device)
        self.seconds_to_make[split] = time.perf_counter() - start
        self.loaders[split] = loader
        if world_size > 1:
            self._check_same_loader(split, loader.name, world_size)
        return loader

    def _check_same_loader(self, split: str, name: str, world_size: int) -> None:
        """Refuse another loader in another process, which may have fallen back: their images could differ."""
        assert self.trainer is not None
        names: list[str] = [""] * world_size
        torch.distributed.all_gather_object(names, name)
        if len(set(names)) == 1:
            return
        if not self.trainer.is_global_zero:
            sys.exit(1)  # the first process says so
        ranks = ", ".join(str(rank) for rank, other in enumerate(names) if other != "ffcv")
        raise FormworkError(
            f"FFCV loading of {split} failed in the process of rank {ranks}, and not in the others. It has said why. "
            "With data.use_ffcv: false all would use the PyTorch DataLoader."
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Each image goes to the device once, however many timesteps there are: the model shows it over time."""
        return super().transfer_batch_to_device(once(batch), device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Normalise the images on the device, and give them the dtype of the weights where autocast does not."""
        images, *numbers = batch
        if isinstance(images, tuple):  # views of several sizes
            return tuple(map(self._normalised, images)), *numbers
        return self._normalised(images), *numbers

    def _normalised(self, images: torch.Tensor) -> torch.Tensor:
        assert self.trainer is not None
        images = normalise(images, self.data.normal)
        if not self.data.params.trainer.precision.endswith("mixed"):
            images = images.to(self.trainer.lightning_module.dtype)
        return images

    def train_dataloader(self) -> BaseLoader:
        loader = self._for_this_rank("train")
        if self._loaded_state is not None:
            loader.load_state_dict(self._loaded_state)
            self._loaded_state = None
        return loader

    # Lightning saves the state of a loader, too, but does not restore it where an optimiser asked for the number of
    # steps, as ours does: then the loader is made before the checkpoint is read.
    def state_dict(self) -> dict[str, Any]:
        return self.loaders["train"].state_dict() if "train" in self.loaders else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded_state = state_dict or None

    def val_dataloader(self) -> BaseLoader:
        return self._for_this_rank("val")
