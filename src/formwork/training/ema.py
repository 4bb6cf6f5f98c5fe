"""The exponential moving average of the weights of a training, which are validated and kept in their place."""

from copy import deepcopy
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from formwork.training.module import of_ours


class AveragedWeights(pl.Callback):
    """After each step of the optimiser, average = d * average + (1 - d) * weight, in a copy of the network.

    d is the decay, or in the beginning, after t steps, (1 + t) / (10 + t) where that is less, so that random weights
    are soon forgotten. Averaged are the weights that are trained, and the floating point buffers, which batch norm's
    means and variances are; frozen weights are the same anyway, and integers are copied. Averages of weights in half
    precision are kept in float32.

    Attributes:
        updates: t.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.updates = 0
        self.loaded: list[Tensor] | None = None
        self.averages: list[Tensor] = []  # of float32 or more: those of the copy itself, if it has such
        self.pairs: list[tuple[Tensor, Tensor]] = []  # of the copy and of the network that is trained
        self.integers: list[tuple[Tensor, Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "averages": self.averages}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates, self.loaded = state["updates"], state["averages"]

    @torch.no_grad()
    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        ours = of_ours(module)
        copy = deepcopy(ours.model).requires_grad_(False).eval()
        buffers = list(zip(copy.buffers(), ours.model.buffers(), strict=True))
        weights = zip(copy.parameters(), ours.model.parameters(), strict=True)
        trained = [pair for pair in weights if pair[1].requires_grad]
        self.pairs = [*trained, *(pair for pair in buffers if pair[0].is_floating_point())]
        self.integers = [pair for pair in buffers if not pair[0].is_floating_point()]
        self.averages = [value if value.element_size() >= 4 else value.float() for value, _ in self.pairs]
        for average, value in zip(self.averages, self.loaded or self.averages, strict=True):
            average.copy_(value)
        self.loaded = None
        ours.average_with(copy)
        trainer.optimizers[0].register_step_post_hook(self._update)

    @torch.no_grad()
    def _update(self, *_: object) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = [
            weight if weight.dtype == average.dtype else weight.to(average.dtype)
            for average, (_, weight) in zip(self.averages, self.pairs, strict=True)
        ]
        get_ema_multi_avg_fn(decay)(self.averages, weights, None)
        self.updates += 1

    @torch.no_grad()
    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for average, (value, _) in zip(self.averages, self.pairs, strict=True):
            if value is not average:
                value.copy_(average)
        for value, current in self.integers:
            value.copy_(current)
