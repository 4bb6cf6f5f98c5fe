"""What a model answers for each image of a split."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from formwork.evaluation.timesteps import StepScores
from formwork.loading.base import Batch, once
from formwork.loading.dtypes import normalise, shift_and_scale
from formwork.models.model_file import TrainedModel
from formwork.models.presentation import Presented
from formwork.progress import progress
from formwork.tasks import task_of

TITLES = {"val": "validation", "test": "test"}
"""What people call a split, before "images"."""


@dataclass(frozen=True)
class Predictions:
    """The answers for N images of a split, in manifest order; K is the number of a model's outputs.

    Attributes:
        targets: by task (N,) int64 classes; (N, K) float32 labels, 0 or 1; (N, K) float32 numbers.
        answers: (N, K) float32, probabilities of classes or labels; or numbers, in the user's units.
        losses: (N,) float32, without label smoothing and weights.
        by_step: score and loss of the outputs of each timestep, where a recurrent model gives several.
    """

    targets: np.ndarray
    answers: np.ndarray
    losses: np.ndarray
    by_step: Sequence[tuple[float, float]] = ()

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
    trained: TrainedModel, loader: Iterable[Batch], on: torch.device, title: str, mirrored: bool = False
) -> Predictions:
    """Run a model over a split, in float32.

    Args:
        loader: of images as the model was validated with: normalised as its settings say, or uint8.
        title: what is run over, beside the bar.
        mirrored: the model is shown each image and its mirror image, and the mean of both outputs (logits, or numbers)
            is what answers, scores and losses are of.
    """
    network, task = trained.network.to(on), task_of(trained.settings)
    normal = shift_and_scale(trained.settings.mean, trained.settings.std)
    parts, steps = [], StepScores(task)
    with torch.inference_mode():
        for batch in progress(loader, name=f"evaluate {title}", unit="batches"):
            images, targets = (part.to(on) for part in once(batch))
            images = normalise(images, normal).float()
            views = [images, images.flip(-1)] if mirrored else [images]
            if isinstance(network, Presented) and len(network.presentation.shown) > 1:
                of_all_steps = _mean([network.outputs(view) for view in views])
                steps.add(of_all_steps, targets)
                outputs = network.answer(of_all_steps)
            else:
                outputs = _mean([network(view) for view in views])
            answers, losses = task.answers(outputs), task.losses(outputs, targets)
            parts.append([t.cpu().numpy().copy() for t in (targets, answers, losses)])
    of_targets, of_answers, of_losses = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Predictions(of_targets, of_answers, of_losses, steps.by_step())


def _mean(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    return outputs[0] if len(outputs) == 1 else torch.stack(list(outputs)).mean(dim=0)
