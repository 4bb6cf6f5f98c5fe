"""The best epoch: which it is, its weights, and when to stop waiting for a better one."""

from math import inf, isfinite
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from formwork.tasks.base import Task
from formwork.training.module import means_of, of_ours


class BestEpoch(pl.Callback):
    """Keeps the weights of the validated epoch with the best value of a metric, the first of them, where losses are
    finite; with train.ema their average. The last epoch is always validated.

    Args:
        monitor: name of the metric, as in ImageModule.means; None: the task's score on the validation split.
        patience: number of epochs without a better one after which the training stops; None: it does not.

    Attributes:
        epoch, metrics: the best epoch so far, counted from 1, and its loss and metrics on the validation split.
        value: of the monitored metric in it.
        weights: its state_dict of the network, on the CPU.
    """

    def __init__(self, monitor: str | None = None, patience: int | None = None) -> None:
        self.monitor = monitor
        self.patience = patience
        self.merit = -inf
        self.value = 0.0
        self.epoch = 0
        self.validated = 0  # the last epoch that was
        self.metrics: dict[str, float] = {}
        self.weights: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        names = ("merit", "value", "epoch", "validated", "metrics", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def monitored(self, task: Task) -> str:
        return self.monitor or f"val/{task.score}"

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Of a run that goes on, perhaps in its last epoch, or after the one that it was to stop at."""
        self.on_train_epoch_start(trainer, module)
        self._stop_in_time(trainer)

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.current_epoch + 1 == trainer.max_epochs:
            trainer.check_val_every_n_epoch = 1

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        self.validated = trainer.current_epoch + 1
        means = means_of(module)
        if all(map(isfinite, means.values())):
            self._compare(trainer, module, means)
        self._stop_in_time(trainer)

    def _compare(self, trainer: pl.Trainer, module: pl.LightningModule, means: dict[str, float]) -> None:
        task = of_ours(module).task
        name = self.monitored(task)
        merit = task.merit(name.partition("/")[2], means[name])
        if merit > self.merit:
            self.merit, self.value, self.epoch = merit, means[name], self.validated
            self.metrics = {
                name.removeprefix("val/"): value for name, value in means.items() if name.startswith("val/")
            }
            weights = of_ours(module).best_weights(trainer.strategy)
            self.weights = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}

    def _stop_in_time(self, trainer: pl.Trainer) -> None:
        if self.patience is not None and self.validated - self.epoch >= self.patience:
            trainer.should_stop = True
