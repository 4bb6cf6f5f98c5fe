"""The LightningModule: a classifier, its loss, its metrics and its optimiser."""

from math import isfinite, nan
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import Strategy
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from formwork.loading.base import Batch
from formwork.models.build import build_model
from formwork.params import ModelName, Train
from formwork.training.lightning_overhead import LowOverheadModule

SUMS = "formwork_sums"  # key in Lightning's checkpoints


class Means:
    """Loss and accuracy over all images of a pass over a split: sums that are added up on the device.

    Lightning's own logging of metrics takes longer than all else in a step of a small model; and torchmetrics' mean
    waits for the device in each, and leaves the NaN of a training that diverged out.
    """

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A pass begins: nothing is added up yet."""
        self.loss: Tensor | float = 0.0
        self.correct: Tensor | float = 0
        self.count = 0

    def add(self, loss: Tensor, correct: Tensor, count: int) -> None:
        """Add the mean loss of a batch of `count` images, and how many of them are classified correctly."""
        self.loss = self.loss + loss.detach().float() * count
        self.correct = self.correct + correct
        self.count += count

    def sums(self, strategy: Strategy) -> list[float]:
        """Loss, correct answers and images, over all ranks: each of them must ask."""
        device = strategy.root_device
        dtype = torch.float32 if device.type == "mps" else torch.float64
        sums = torch.tensor([float(self.loss), float(self.correct), self.count], dtype=dtype, device=device)
        return strategy.reduce(sums, reduce_op="sum").tolist()


class Classifier(LowOverheadModule):
    """A network with its loss and optimiser. With (B, T) labels every timestep counts as an image.

    Attributes:
        means: train/loss, train/accuracy, val/loss and val/accuracy of the last epoch: means over all images, and over
            all ranks. Those of both splits change when a validation ends, which follows each epoch's training.
    """

    def __init__(self, model: ModelName, classes: int, resolution: int, train: Train):
        super().__init__()
        network = build_model(model, classes, resolution)
        self.model: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # of torch
        self.train_params = train
        self.passes = {"train": Means(), "val": Means()}
        self.means: dict[str, float] = {}

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: Batch) -> Tensor:
        return self._step("train", batch, self.train_params.label_smoothing)

    def validation_step(self, batch: Batch) -> None:
        self._step("val", batch, 0.0)

    def _step(self, split: str, batch: Batch, label_smoothing: float) -> Tensor:
        images, labels = batch
        if not len(labels):
            nothing = self(images).sum()  # a gradient of zeros: the other ranks wait for one
            return self._log(split, nothing, nothing.detach(), 0)
        logits = self(images).flatten(0, -2)
        if labels.is_floating_point():  # probabilities, of mixed images: the likeliest class counts as the right one
            targets = labels.flatten(0, -2)
            truth = targets.argmax(dim=1)
        else:
            targets = truth = labels.flatten()
        loss = nn.functional.cross_entropy(logits, targets, label_smoothing=label_smoothing)
        return self._log(split, loss, (logits.argmax(dim=1) == truth).sum(), len(truth))

    def _log(self, split: str, loss: Tensor, correct: Tensor, count: int) -> Tensor:
        """Count the loss, and how many of `count` images are classified correctly; return the loss."""
        self.passes[split].add(loss, correct, count)
        return loss

    def on_validation_epoch_end(self) -> None:
        for split, means in self.passes.items():
            if not self.trainer.sanity_checking:
                loss, correct, count = means.sums(self.trainer.strategy)
                accuracy = correct / count if isfinite(loss) else nan  # the likeliest class of nan is the first
                self.means |= {f"{split}/loss": loss / count, f"{split}/accuracy": accuracy}
            means.start()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the sums over the training images of the current epoch so far."""
        checkpoint[SUMS] = self.passes["train"].sums(self.trainer.strategy)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.is_global_zero:  # at the end of the epoch the ranks are added up
            train = self.passes["train"]
            train.loss, train.correct, count = checkpoint[SUMS]
            train.count = round(count)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.train_params.lr, weight_decay=self.train_params.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.train_params.lr, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def means_of(module: pl.LightningModule) -> dict[str, float]:
    """Classifier.means, of a module that Lightning passes to a callback."""
    assert isinstance(module, Classifier)
    return module.means
