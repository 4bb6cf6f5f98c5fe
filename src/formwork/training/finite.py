"""Losses that are not finite: the first of them is found, without waiting for the device in any step."""

import time
from collections.abc import Mapping
from math import ceil, isfinite
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from formwork.loading.base import Batch

LOOK_SECONDS = 1.0
Step = tuple[int, int, str]
"""Epoch and step, from 1, and what is wrong there."""


class FiniteLosses(pl.Callback):
    """Looks at the losses of all steps, once a second and whenever it is asked.

    Attributes:
        found: the first step whose loss is not finite, once it is known.
    """

    def __init__(self) -> None:
        self.found: Step | None = None
        self.losses: list[Tensor] = []
        self.first = 0  # batch of the epoch, from 0, that the first of them is of
        self.looked = time.monotonic()
        self.copied: tuple[int, Tensor, torch.cuda.Event] | None = None  # the first batch, and losses on the CPU

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if not self.losses:
            self.first = batch_idx
        self.losses.append(outputs["loss"])
        now = time.monotonic()
        if now - self.looked > LOOK_SECONDS:
            self.looked = now
            self._begin(trainer)

    def _begin(self, trainer: pl.Trainer) -> None:
        """Look at what was copied before, which has arrived since, and begin to copy what is new."""
        self._end(trainer)
        losses = torch.stack(self.losses).float()
        if losses.is_cuda:
            event = torch.cuda.Event()
            copy = torch.empty(len(losses), pin_memory=True).copy_(losses, non_blocking=True)
            event.record()
            self.copied = (self.first, copy, event)
        else:
            self._look(trainer, self.first, losses)
        self.losses = []

    def _end(self, trainer: pl.Trainer) -> None:
        if self.copied:
            first, losses, event = self.copied
            self.copied = None
            event.synchronize()
            self._look(trainer, first, losses)

    def _look(self, trainer: pl.Trainer, first: int, losses: Tensor) -> None:
        """Losses are all of the running epoch, as its end looks at them."""
        wrong = (~losses.isfinite()).nonzero()
        if self.found is None and len(wrong):
            place, batches = int(wrong[0]), trainer.accumulate_grad_batches
            before = trainer.current_epoch * ceil(trainer.num_training_batches / batches)
            step = before + (first + place) // batches + 1
            self.found = (trainer.current_epoch + 1, step, f"training loss is {float(losses[place])}")

    def look(self, trainer: pl.Trainer) -> Step | None:
        """Look at all losses, and at the weights: `found`, as of now. Waits for the device."""
        if self.losses:
            self._begin(trainer)
        self._end(trainer)
        if self.found is None and not _finite(trainer.lightning_module):
            self.found = (trainer.current_epoch + 1, trainer.global_step, "weights are not finite")
        return self.found


def _finite(module: torch.nn.Module) -> bool:
    weights = [weight.detach() for weight in module.state_dict().values() if weight.is_floating_point()]
    return bool(torch.stack([weight.isfinite().all() for weight in weights]).all())


def wrong_means(means: Mapping[str, float]) -> list[str]:
    """What is not finite of the means of an epoch, in words."""
    return [f"{name} is {value}" for name, value in means.items() if not isfinite(value)]
