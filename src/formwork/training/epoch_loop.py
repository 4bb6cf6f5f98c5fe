"""The loop over the batches of an epoch, with less around each step than Lightning's own."""

from collections.abc import Callable

import pytorch_lightning as pl
from pytorch_lightning.loops.fetchers import _DataFetcher
from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
from torch import Tensor

from formwork.loading.base import Batch


class EpochLoop(_TrainingEpochLoop):
    """Lightning's loop, whose plain steps call the hooks that are there and no empty ones.

    A plain step is one of a single process without accumulation: Lightning calls three dozen hooks in each, of
    callbacks, module and strategy, nearly all of them empty. What a step computes, and what a checkpoint holds of the
    loop, is the same. Other steps, and the first one after an interruption, are Lightning's own.

    Around a plain step, callbacks can have on_train_batch_start, on_before_zero_grad and on_train_batch_end, and those
    hooks of backward pass and optimizer that strategy and precision call; the module can have only the latter.
    """

    def __init__(self, trainer: pl.Trainer):
        usual = trainer.fit_loop.epoch_loop
        super().__init__(trainer, usual.min_steps, usual.max_steps)
        self.starts, self.zero_grads, self.ends = (
            _hooks(trainer, name) for name in ("on_train_batch_start", "on_before_zero_grad", "on_train_batch_end")
        )

    def advance(self, data_fetcher: _DataFetcher) -> None:
        trainer, progress = self.trainer, self.batch_progress
        if self.restarting or trainer.world_size > 1 or trainer.accumulate_grad_batches > 1:
            super().advance(data_fetcher)
            return
        self.val_loop.restarting = False
        batch, *_ = next(data_fetcher)
        index = self.batch_idx + 1
        progress.is_last_batch = data_fetcher.done
        batch = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
        progress.increment_ready()
        for hook in self.starts:
            hook(trainer, trainer.lightning_module, batch, index)
        progress.increment_started()
        outputs = {"loss": self._step(batch)}
        progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        for hook in self.ends:
            hook(trainer, trainer.lightning_module, outputs, batch, index)
        progress.increment_completed()

    def _step(self, batch: Batch) -> Tensor:
        """Forward, backward, and a step of the optimizer; gives the loss."""
        trainer, strategy = self.trainer, self.trainer.strategy
        optimizer, progress = trainer.optimizers[0], self.automatic_optimization.optim_progress.optimizer
        losses: list[Tensor] = []

        def closure() -> Tensor:
            loss = strategy.training_step(batch)
            assert isinstance(loss, Tensor)
            progress.zero_grad.increment_ready()
            for hook in self.zero_grads:
                hook(trainer, trainer.lightning_module, optimizer)
            progress.zero_grad.increment_started()
            optimizer.zero_grad()
            progress.zero_grad.increment_completed()
            strategy.backward(loss, optimizer)
            losses.append(loss.detach())
            return losses[0]

        progress.step.increment_ready()
        strategy.optimizer_step(optimizer, closure, trainer.lightning_module)
        progress.step.increment_completed()
        return losses[0]

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        plain = self.trainer.accumulate_grad_batches == 1 and not self.trainer.should_stop
        if plain and not self._num_ready_batches_reached():
            self._batches_that_stepped += 1  # nothing to validate yet
        else:
            super().on_advance_end(data_fetcher)


def _hooks(trainer: pl.Trainer, name: str) -> list[Callable[..., None]]:
    """Those of this name that callbacks have of their own."""
    empty = getattr(pl.Callback, name)
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set elsewhere
    return [getattr(callback, name) for callback in callbacks if getattr(type(callback), name) is not empty]
