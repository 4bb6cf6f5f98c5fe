"""Lightning's view of the loaders of a repository."""

import time
from typing import Any

import pytorch_lightning as pl

from formwork.errors import ParamsError
from formwork.loading.base import BaseLoader, Batch
from formwork.loading.dtypes import normalise
from formwork.loading.project import ProjectData


class ImageDataModule(pl.LightningDataModule):
    """Makes the loader of each split when Lightning asks for it, once the ranks are known.

    Attributes:
        data: what is loaded, and how.
        seconds_to_make: it, by split.
    """

    def __init__(self, data: ProjectData):
        super().__init__()
        self.data = data
        self.seconds_to_make: dict[str, float] = {}
        self.training: BaseLoader | None = None
        self.go_on_from: dict[str, Any] | None = None

    def _for_this_rank(self, split: str) -> BaseLoader:
        world_size = self.trainer.world_size
        if world_size > 1 and not self.data.params.ffcv.distributed:
            raise ParamsError(
                f"{world_size} devices and ffcv.distributed: false: every device would train on the same images. "
                "Set ffcv.distributed: true, or trainer.devices: 1."
            )
        start = time.perf_counter()
        loader = self.data.loader(split, self.trainer.global_rank, world_size)
        self.seconds_to_make[split] = time.perf_counter() - start
        return loader

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """On the device: normalised, and of the type of the weights, if autocast does not see to that."""
        images, labels = batch
        images = normalise(images, self.data.normal)
        if not self.data.params.trainer.precision.endswith("mixed"):
            images = images.to(self.trainer.lightning_module.dtype)
        return images, labels

    def train_dataloader(self) -> BaseLoader:
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

    def val_dataloader(self) -> BaseLoader:
        return self._for_this_rank("val")
