"""The LightningModule: a network, its loss, its metrics and its optimiser."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from formwork.interim.settings import Settings
from formwork.loading.base import Batch
from formwork.loading.targets import Targets
from formwork.models.build import build_model
from formwork.models.presentation import Presentation
from formwork.params import Params
from formwork.tasks import task_of
from formwork.tasks.base import LossOptions
from formwork.training.lightning_overhead import LowOverheadModule
from formwork.training.objective import Objective
from formwork.training.tally import Tally

SUMS = "formwork_sums"  # key in Lightning's checkpoints


class ImageModule(LowOverheadModule):
    """A network with its loss and optimiser. In training each timestep in the loss counts as an image; in validation it
    is the answer alone that counts, as in evaluate.

    Attributes:
        means: of the last epoch, over all images and all ranks: train/loss and val/loss, and by task such as
            train/accuracy and val/accuracy. Those of both splits change when a validation ends, which follows each
            epoch's training.
    """

    def __init__(self, params: Params, settings: Settings, targets: Targets):
        """targets: of the training split."""
        super().__init__()
        self.task = task_of(settings)
        network = build_model(params.model, self.task.outputs, settings.resolution)
        self.model: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # of torch
        self.presentation = Presentation(params.model)
        self.train_params = params.train
        self.objective = Objective(self.task, params.train, targets)
        self.tallies = {"train": Tally(self.task), "val": Tally(self.task, keep=True)}
        self.means: dict[str, float] = {}

    def forward(self, images: Tensor) -> Tensor:
        """(B, K) answers to images (B, 3, H, W)."""
        return self.presentation.answers(self.model, images)

    def training_step(self, batch: Batch) -> Tensor:
        images, targets, *weights = batch
        if not len(targets):
            return self(images).sum()  # a gradient of zeros: the other ranks wait for one
        outputs, targets, *weights = self.presentation.for_loss(self.model, images, targets, *weights)
        loss = self.objective(outputs, targets, *weights)
        return self._log("train", loss, outputs, targets)

    def validation_step(self, batch: Batch) -> None:
        images, targets = batch
        if len(targets):
            outputs = self(images)
            self._log("val", self.task.losses(outputs, targets, LossOptions("mean")), outputs, targets)

    def _log(self, split: str, loss: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
        """Count the loss and what the task measures; return the loss."""
        self.tallies[split].add(loss, outputs, targets)
        return loss

    def on_validation_epoch_end(self) -> None:
        for split, tally in self.tallies.items():
            if not self.trainer.sanity_checking:
                means = tally.means(self.trainer.strategy)
                self.means |= {f"{split}/{name}": value for name, value in means.items()}
            tally.start()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the sums over the training images of the current epoch so far."""
        checkpoint[SUMS] = self.tallies["train"].state(self.trainer.strategy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.is_global_zero:  # at the end of the epoch the ranks are added up
            self.tallies["train"].load(checkpoint[SUMS], self.trainer.strategy.root_device)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.train_params.lr, weight_decay=self.train_params.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.train_params.lr, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def means_of(module: pl.LightningModule) -> dict[str, float]:
    """ImageModule.means, of a module that Lightning passes to a callback."""
    return of_ours(module).means


def of_ours(module: pl.LightningModule) -> ImageModule:
    """A module that Lightning passes to a callback."""
    assert isinstance(module, ImageModule)
    return module
