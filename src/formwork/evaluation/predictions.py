"""What a model answers for each image of the validation split."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from formwork.loading.base import Batch
from formwork.loading.dtypes import normalise
from formwork.progress import progress


@dataclass(frozen=True)
class Predictions:
    """The answers for N validation images, in manifest order.

    Attributes:
        labels, predicted: (N,) int64 class indices.
        losses: (N,) float32 cross-entropies.
        confidence: (N,) float32, the probability that the model gives the class it predicts.
    """

    labels: np.ndarray
    predicted: np.ndarray
    losses: np.ndarray
    confidence: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """(N,) bool."""
        return self.labels == self.predicted


def device(accelerator: str) -> torch.device:
    """The GPU, where there is one and trainer.accelerator in params.yaml allows it; else the CPU."""
    gpu = torch.accelerator.current_accelerator(check_available=True)
    return gpu if gpu is not None and accelerator != "cpu" else torch.device("cpu")


def predict(model: torch.nn.Module, loader: Iterable[Batch], normal: np.ndarray, on: torch.device) -> Predictions:
    """Run the model over the validation split, in float32. With timesteps the logits of the last step count.

    Args:
        normal: see formwork.loading.dtypes.normalise.
    """
    parts = []
    model.to(on)
    with torch.inference_mode():
        for images, labels in progress(loader, name="evaluate", unit="batches"):
            logits, labels = model(normalise(images.to(on), normal).float()), labels.to(on)
            if labels.dim() == 2:
                logits, labels = logits[:, -1], labels[:, -1]
            losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
            confidence, predicted = logits.softmax(dim=1).max(dim=1)
            parts.append([t.cpu().numpy().copy() for t in (labels, predicted, losses, confidence)])
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))
