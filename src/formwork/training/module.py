"""The LightningModule: a classifier, its loss, its metrics and its optimiser."""

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from formwork.loading.common import Batch
from formwork.params import Train
from formwork.training.models import build_model


class Classifier(pl.LightningModule):
    """Logs train/loss, train/accuracy, val/loss and val/accuracy per epoch: means over all images, and over all ranks.

    With (B, T) labels every timestep counts as an image.
    """

    def __init__(self, model: str, classes: int, resolution: int, train: Train):
        super().__init__()
        self.model = build_model(model, classes, resolution).to(memory_format=torch.channels_last)
        self.train_params = train
        # Lightning logs a mean of batch means unless it is given a metric, and a last batch may be smaller.
        self.metrics = nn.ModuleDict(
            {
                split: nn.ModuleDict({"loss": MeanMetric(), "accuracy": MeanMetric()})
                for split in ("train_split", "val_split")  # an nn.Module has attributes train and eval already
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: Batch) -> Tensor:
        return self._step("train", batch, self.train_params.label_smoothing)

    def validation_step(self, batch: Batch) -> None:
        self._step("val", batch, 0.0)

    def _step(self, split: str, batch: Batch, label_smoothing: float) -> Tensor:
        images, labels = batch
        logits, labels = self(images).flatten(0, -2), labels.flatten()
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        metrics = self.metrics[f"{split}_split"]
        metrics["loss"].update(loss.detach(), weight=len(labels))
        metrics["accuracy"].update((logits.argmax(dim=1) == labels).float())
        for name, metric in metrics.items():
            self.log(f"{split}/{name}", metric, on_step=False, on_epoch=True, prog_bar=split == "val")
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.train_params.lr, weight_decay=self.train_params.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.train_params.lr, total_steps=self.trainer.estimated_stepping_batches
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
