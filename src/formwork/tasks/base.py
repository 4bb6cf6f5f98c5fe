"""The base class of tasks. N is a number of images, K the number of a model's outputs for each."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from formwork.interim.settings import Settings


class LossOptions(NamedTuple):
    """How a loss is computed; a task without classes or labels takes the reduction alone.

    Attributes:
        reduction: "none": of each image; "mean": over all of them, in one step.
        weights: (K,), from Task.balanced.
    """

    reduction: Literal["none", "mean"] = "none"
    label_smoothing: float = 0.0
    weights: Tensor | None = None


PLAIN = LossOptions()
LOWEST_IS_BEST = ("loss", "mae")


class Task(ABC):
    """A task of a dataset.

    Attributes:
        name: as in Settings.task.
        metrics: names of those that every pass over a split has beside its loss, in their order.
        val_metrics: those of validation alone, which need the outputs for all images at once.
        score: the metric by which the best epoch is chosen. score_title: the same, for people.
        outputs: K.
        sizes: of each vector in `measure`; 1 for a single number.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[str, ...]]
    val_metrics: ClassVar[tuple[str, ...]] = ()
    score: ClassVar[str]
    score_title: ClassVar[str]
    sizes: Mapping[str, int]

    def __init__(self, settings: Settings):
        self.outputs = settings.outputs

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor, options: LossOptions = PLAIN) -> Tensor:
        """The loss of each image, (N,), or their mean.

        Args:
            outputs: (N, K) of the model. targets: (N, ...), see formwork.loading.base.Batch.
        """

    @abstractmethod
    def balanced(self, counts: np.ndarray, images: int) -> np.ndarray:
        """(K,) weights for `losses` with which all classes, or both answers to each label, weigh the same.

        Args:
            counts: (K,) training images of each class or label, of `images` in all.
        """

    @abstractmethod
    def answers(self, outputs: Tensor) -> Tensor:
        """(N, K) float32 in the user's terms: probabilities, or numbers in the user's units."""

    @abstractmethod
    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Sums over N images, on their device, of which `summarise` makes metrics."""

    @abstractmethod
    def summarise(self, sums: Mapping[str, np.ndarray], count: int) -> dict[str, float]:
        """`metrics`, from the sums over `count` images."""

    def summarise_val(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """`val_metrics`, from (N, K) outputs and targets of all images."""
        return {}

    def merit(self, metric: str, value: float) -> float:
        """The value of one of the metrics, or of the loss, as a number of which the highest is the best."""
        return -value if metric in LOWEST_IS_BEST else value


class Constant:
    """Numbers (K,) float32, copied to a device when it is first asked for."""

    def __init__(self, values: np.ndarray):
        self._values = torch.from_numpy(np.asarray(values, np.float32))

    def on(self, device: torch.device) -> Tensor:
        if self._values.device != device:
            self._values = self._values.to(device)
        return self._values


def at_least_float32(outputs: Tensor) -> Tensor:
    """Losses are not computed in half precision."""
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))
