"""One of several classes an image: cross entropy, accuracy."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor
from torch.nn import functional

from formwork.interim.settings import Settings
from formwork.tasks.base import PLAIN, LossOptions, Task, at_least_float32


class Classes(Task):
    name = "classes"
    metrics = ("accuracy",)
    score, score_title = "accuracy", "accuracy"

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.sizes = {"correct": 1}

    def losses(self, outputs: Tensor, targets: Tensor, options: LossOptions = PLAIN) -> Tensor:
        """Cross entropies; targets are classes, or probabilities of mixed images."""
        reduction, label_smoothing, weights = options
        if weights is not None:  # torch wants them in the type of the outputs
            outputs = at_least_float32(outputs)
            weights = weights.to(outputs.dtype)
        return functional.cross_entropy(
            outputs, targets, weight=weights, reduction=reduction, label_smoothing=label_smoothing
        )

    def balanced(self, counts: np.ndarray, images: int) -> np.ndarray:
        """images / (classes * counts), whose mean over the images is 1."""
        return images / (len(counts) * np.maximum(counts, 1))

    def answers(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(dim=1)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Of mixed images the likeliest class counts as the right one."""
        truth = targets.argmax(dim=1) if targets.is_floating_point() else targets
        return {"correct": (outputs.argmax(dim=1) == truth).sum()}

    def summarise(self, sums: Mapping[str, np.ndarray], count: int) -> dict[str, float]:
        return {"accuracy": float(sums["correct"][0]) / count}
