"""The LightningModule: a classifier, its loss, its metrics and its optimiser."""

from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import Metric

from formwork.loading.base import Batch
from formwork.models.build import build_model
from formwork.params import ModelName, Train
from formwork.training.lightning_overhead import LowOverheadModule

METRICS = "formwork_metrics"  # key in Lightning's checkpoints


class MeanMetric(Metric):
    """Mean of values that are added up on the device.

    torchmetrics' own MeanMetric checks each batch for NaN: that waits for the device, and leaves the NaN of a training
    that diverged out of the mean.
    """

    full_state_update = False
    SUMS = ("total", "count")
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in self.SUMS:
            self.add_state(name, torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, total: Tensor, count: int) -> None:
        """Add the sum of `count` values, a tensor of one element."""
        self.total += total
        self.count += count

    def compute(self) -> Tensor:
        return self.total / self.count


class Classifier(LowOverheadModule):
    """Logs train/loss, train/accuracy, val/loss and val/accuracy per epoch: means over all images, and over all ranks.

    With (B, T) labels every timestep counts as an image.
    """

    def __init__(self, model: ModelName, classes: int, resolution: int, train: Train):
        super().__init__()
        network = build_model(model, classes, resolution)
        self.model: nn.Module = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # of torch
        self.train_params = train
        # Lightning logs a mean of batch means unless it is given a metric, and a last batch may be smaller.
        self.train_loss, self.train_accuracy = MeanMetric(), MeanMetric()
        self.val_loss, self.val_accuracy = MeanMetric(), MeanMetric()

    def _metrics(self, split: str) -> dict[str, MeanMetric]:
        if split == "train":
            return {"loss": self.train_loss, "accuracy": self.train_accuracy}
        return {"loss": self.val_loss, "accuracy": self.val_accuracy}

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
        """Log the loss, and how many of `count` images are classified correctly; return the loss.

        Every rank logs, even if its batch has no images, because the others wait for it. In training only the last
        batch is logged: the metrics add up by themselves, and self.log takes longer than all else in a step.
        """
        metrics = self._metrics(split)
        metrics["loss"].update(loss.detach().float() * count, count)
        metrics["accuracy"].update(correct, count)
        if split == "val" or self.trainer.is_last_batch:
            for name, metric in metrics.items():
                self.log(f"{split}/{name}", metric, on_step=False, on_epoch=True, prog_bar=split == "val")
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the sums of the training metrics in the current epoch so far, over all ranks."""
        if self.trainer.fit_loop.batch_idx + 1 >= self.trainer.num_training_batches:
            checkpoint[METRICS] = {}  # of an epoch that is over: the next one starts from nothing
            return
        checkpoint[METRICS] = {
            name: {
                part: self.trainer.strategy.reduce(getattr(metric, part).clone(), reduce_op="sum")
                for part in MeanMetric.SUMS
            }
            for name, metric in self._metrics("train").items()
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        metrics = self._metrics("train")
        for name, sums in checkpoint[METRICS].items():
            for part, value in sums.items():
                # All of it on rank 0: at the end of the epoch the ranks are added up.
                setattr(metrics[name], part, value if self.trainer.is_global_zero else 0 * value)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.train_params.lr, weight_decay=self.train_params.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.train_params.lr, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
