"""The loss that a training makes small."""

import numpy as np
from torch import Tensor

from formwork.errors import DatasetError
from formwork.loading.targets import Targets
from formwork.params import Train
from formwork.tasks.base import Constant, LossOptions, Task


class Objective:
    """The mean over the images of a batch of their losses, each times the weight of the image.

    The weights of images are divided by their mean over the training split, those of classes have the mean 1: so
    train.lr means the same with and without them. Neither is divided by their sum over a batch, which would change with
    the images that happen to be in it, and with the number of devices that share it.

    Args:
        targets: of the training split.
    """

    def __init__(self, task: Task, params: Train, targets: Targets):
        self.task = task
        self.label_smoothing = params.label_smoothing
        self.class_weights: Constant | None = None
        if params.class_weights == "balanced":
            self.class_weights = Constant(task.balanced(*targets.counts()))
        self.mean_weight = 1.0
        if targets.weights is not None:
            self.mean_weight = float(targets.weights.mean(dtype=np.float64))
            if self.mean_weight <= 0:
                raise DatasetError("The weights of all training images are 0: nothing would be learned.")

    def __call__(self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """The loss of N images: outputs (N, K), targets (N, ...), weights (N,)."""
        class_weights = None if self.class_weights is None else self.class_weights.on(outputs.device)
        plain = class_weights is None and weights is None
        options = LossOptions("mean" if plain else "none", self.label_smoothing, class_weights)
        losses = self.task.losses(outputs, targets, options)
        if weights is not None:
            losses = losses * (weights / self.mean_weight)
        return losses if plain else losses.mean()
