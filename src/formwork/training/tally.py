"""Loss and metrics of a pass over a split."""

from math import isfinite, nan
from typing import Any

import numpy as np
import torch
from pytorch_lightning.strategies import Strategy
from torch import Tensor

from formwork.tasks.base import Task


class Tally:
    """Sums over all images of a pass over a split, added up on the device.

    They are of float64 where the device has it: numbers of float32 are added to them without rounding, so that a sum is
    the same however the images are shared by ranks and by runs before and after an interruption.

    Lightning's own logging of metrics takes longer than all else in a step of a small model; and torchmetrics' mean
    waits for the device in each, and leaves the NaN of a training that diverged out.

    Args:
        keep: keep the outputs and targets for metrics that need those of all images at once.
    """

    def __init__(self, task: Task, keep: bool = False):
        self.task = task
        self.keep = keep and bool(task.val_metrics)
        self.sizes = {"loss": 1, **task.sizes}
        self.start()

    def start(self) -> None:
        """A pass begins: nothing is added up yet."""
        self.totals: dict[str, Tensor | float] = {}
        self.count = 0
        self.kept: list[Tensor] = []

    def add(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """Add the mean loss of a batch of images, and what the task measures of their outputs."""
        count = len(outputs)
        dtype = _dtype(loss.device)
        sums = {"loss": loss.detach().to(dtype) * count, **self.task.measure(outputs, targets)}
        for name, value in sums.items():
            self.totals[name] = self.totals.get(name, 0.0) + value.to(dtype)
        self.count += count
        if self.keep:
            self.kept.append(torch.stack([outputs.detach().float(), targets.float()]))

    def sums(self, strategy: Strategy) -> tuple[dict[str, np.ndarray], int]:
        """The sums and the number of images, over all ranks: each of them must ask."""
        device = strategy.root_device
        dtype = _dtype(device)
        parts = [
            torch.as_tensor(self.totals.get(name, 0.0), dtype=dtype, device=device).expand(size)
            for name, size in self.sizes.items()
        ]
        parts.append(torch.tensor([self.count], dtype=dtype, device=device))
        *sums, count = strategy.reduce(torch.cat(parts), reduce_op="sum").split([*self.sizes.values(), 1])
        return {name: part.cpu().numpy() for name, part in zip(self.sizes, sums, strict=True)}, round(float(count))

    def means(self, strategy: Strategy) -> dict[str, float]:
        """The loss and the metrics of all ranks, which must all ask; NaN where the loss is not finite."""
        sums, count = self.sums(strategy)
        everything = self._gather(strategy) if self.keep else None
        loss = float(sums["loss"][0]) / count
        metrics = self.task.summarise(sums, count)
        if everything is not None and isfinite(loss):
            metrics |= self.task.summarise_val(*everything)
        if not isfinite(loss):  # the likeliest class of nan is the first
            metrics = dict.fromkeys([*metrics, *self.task.val_metrics], nan)
        return {"loss": loss, **metrics}

    def _gather(self, strategy: Strategy) -> np.ndarray:
        """(2, N, K) outputs and targets of all ranks, which may have different numbers of images."""
        empty = torch.empty((2, 0, self.task.outputs), device=strategy.root_device)
        mine = torch.cat([empty, *self.kept], dim=1)
        if getattr(strategy, "world_size", 1) == 1:  # only strategies of several processes have it
            return mine.cpu().numpy()
        sizes = strategy.all_gather(torch.tensor(mine.shape[1], device=strategy.root_device)).tolist()
        padded = torch.nn.functional.pad(mine, (0, 0, 0, max(sizes) - mine.shape[1]))
        gathered = strategy.all_gather(padded)
        return torch.cat([part[:, :size] for part, size in zip(gathered, sizes, strict=True)], dim=1).cpu().numpy()

    def state(self, strategy: Strategy) -> dict[str, Any]:
        """For a checkpoint: over all ranks, which must all ask."""
        sums, count = self.sums(strategy)
        return {"sums": {name: values.tolist() for name, values in sums.items()}, "count": count}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        self.count = state["count"]
        for name, values in state["sums"].items():
            sums = torch.tensor(values, dtype=_dtype(device), device=device)
            self.totals[name] = values[0] if self.sizes[name] == 1 else sums


def _dtype(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64
