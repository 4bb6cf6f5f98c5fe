"""What a model answers for each image of a split."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from formwork.loading.base import Batch
from formwork.loading.dtypes import normalise
from formwork.progress import progress
from formwork.tasks.base import Task

TITLES = {"val": "validation", "test": "test"}
"""What people call a split, before "images"."""


@dataclass(frozen=True)
class Predictions:
    """The answers for N images of a split, in manifest order; K is the number of a model's outputs.

    Attributes:
        targets: by task (N,) int64 classes; (N, K) float32 labels, 0 or 1; (N, K) float32 numbers.
        answers: (N, K) float32, probabilities of classes or labels; or numbers, in the user's units.
        losses: (N,) float32, without label smoothing and weights.
    """

    targets: np.ndarray
    answers: np.ndarray
    losses: np.ndarray

    def __len__(self) -> int:
        return len(self.losses)

    @property
    def likeliest(self) -> np.ndarray:
        """(N,) int64, where there are classes: the predicted ones."""
        return self.answers.argmax(axis=1)

    @property
    def probable(self) -> np.ndarray:
        """(N, K) bool, where there are labels: those that are predicted."""
        return self.answers > 0.5


def device(accelerator: str) -> torch.device:
    """The GPU, where there is one and trainer.accelerator in params.yaml allows it; else the CPU."""
    gpu = torch.accelerator.current_accelerator(check_available=True)
    return gpu if gpu is not None and accelerator != "cpu" else torch.device("cpu")


def predict(
    model: torch.nn.Module, loader: Iterable[Batch], normal: np.ndarray, on: torch.device, task: Task, split: str
) -> Predictions:
    """Run the model over a split, in float32. With timesteps the outputs of the last step count.

    Args:
        normal: see formwork.loading.dtypes.normalise.
        task: with the settings that the model was trained with.
    """
    parts = []
    model.to(on)
    with torch.inference_mode():
        for images, targets in progress(loader, name=f"evaluate {split}", unit="batches"):
            shown = normalise(images.to(on), normal).float()
            outputs, targets = model(shown), targets.to(on)
            if shown.dim() == 5:
                outputs, targets = outputs[:, -1], targets[:, -1]
            answers, losses = task.answers(outputs), task.losses(outputs, targets)
            parts.append([t.cpu().numpy().copy() for t in (targets, answers, losses)])
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))
