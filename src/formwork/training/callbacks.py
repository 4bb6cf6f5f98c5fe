"""Callbacks: metrics and times of each epoch with DVCLive, the best weights, the progress bar, Ctrl-C."""

import signal
import time
from operator import itemgetter
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import pytorch_lightning as pl
from dvclive import Live
from pytorch_lightning.callbacks import TQDMProgressBar
from torch import Tensor

from formwork.loading.base import Batch
from formwork.system import PeakMemory, machine, machine_id
from formwork.training.datamodule import ImageDataModule

DRAW_SECONDS = 0.1


class EpochLogger(pl.Callback):
    """Logs each epoch with DVCLive; the step of every curve is the epoch, counted from 1.

    Into `results`: loss and accuracy of both splits, and the loader really used. The same params give the same files.

    Into `speed`: the wall-clock figures, which differ from run to run and so stand apart.
        seconds, images_per_second, waiting_seconds, waiting_share: of the epoch's training part, its images/s, and the
            seconds and the share of it spent waiting for data. The curves have every epoch; metrics.json has those of
            one of them, of median length among all after the first, which warms up.
        first_batch_seconds: until both loaders have given their first batch, the validation loader (of which Lightning
            tries two batches before it trains) and the training loader: they are made, their threads or processes
            start, and kernels are loaded, or compiled where this machine has none yet. Imports are not in it, nor is
            what Lightning does in between.
        peak_memory_mb: the largest sum, in 10^6 bytes, of the memory of this process and of all that it has started,
            without libraries and other mapped files, see PeakMemory. Not on other systems than Linux.
        machine: what all this was measured on.

    Args:
        datamodule: gives the loaders, and tells what they are.
        memory: watches this process.
    """

    def __init__(self, results: Path, speed: Path, datamodule: ImageDataModule, memory: PeakMemory):
        self.datamodule = datamodule
        self.results = results
        self.speed = speed
        self.memory = memory
        self.peak_before = 0  # in bytes, of the process before an interruption
        self.first_batches: dict[str, float] = {}  # seconds to the first batch, by split
        self.lives: tuple[Live, ...] = ()
        self.epochs: list[dict[str, Any]] = []  # what was logged: a resumed run writes the whole curves again
        self.before = {"seconds": 0.0, "waited": 0.0, "images": 0}  # in the part of an epoch before an interruption

    def state_dict(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "current": self._so_far(),
            "first_batches": self.first_batches,
            "peak": self._peak(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs, self.before = state["epochs"], state["current"]
        self.first_batches, self.peak_before = state["first_batches"], state["peak"]

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            # dvcyaml and save_dvc_exp would rewrite dvc.yaml and commit, which is for DVC and the user to do.
            self.lives = tuple(
                Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None)
                for folder in (self.results, self.speed)
            )
        for epoch in self.epochs:
            self._log(epoch)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._begin()  # the rest of an epoch that was interrupted begins without an on_train_epoch_start

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.before = dict.fromkeys(self.before, 0)
        self._begin()

    def _begin(self) -> None:
        self.clock = self.datamodule.loaders["train"].clock
        self.start = self.stop = time.perf_counter()
        self.images = 0

    def on_validation_batch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        self._first_batch("val")

    def on_train_batch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        self._first_batch("train")

    def _first_batch(self, split: str) -> None:
        if split not in self.first_batches:
            loading = self.datamodule
            self.first_batches[split] = loading.seconds_to_make[split] + loading.loaders[split].clock.seconds

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        self.stop = time.perf_counter()  # the last one of an epoch comes before its validation
        self.images += len(batch[1]) * trainer.world_size

    def _so_far(self) -> dict[str, float]:
        """Training time, waiting time and images of the current epoch, over all ranks."""
        return {
            "seconds": self.before["seconds"] + self.stop - self.start,
            "waited": self.before["waited"] + self.clock.seconds,
            "images": self.before["images"] + self.images,
        }

    def _peak(self) -> int:
        return max(self.peak_before, self.memory.peak)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        now = self._so_far()
        epoch = {
            "epoch": trainer.current_epoch + 1,
            "loader": self.datamodule.data.loader_used,
            "results": {
                name: float(trainer.callback_metrics[name])
                for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
            },
            "speed": {
                "images_per_second": round(now["images"] / now["seconds"], 1),
                "seconds": round(now["seconds"], 4),
                "waiting_seconds": round(now["waited"], 4),
                "waiting_share": round(now["waited"] / now["seconds"], 4),
            },
        }
        self.epochs.append(epoch)
        self.memory.look()  # a short run would end between two looks
        self._log(epoch)

    def _log(self, epoch: dict[str, Any]) -> None:
        for live, metrics in zip(self.lives, (epoch["results"], epoch["speed"]), strict=False):
            live.step = epoch["epoch"]
            live.log_metric("loader", epoch["loader"], plot=False)
            for name, value in metrics.items():
                live.log_metric(name, value)
            if metrics is epoch["speed"]:
                live.summary.update(self._summary())
            live.make_summary()

    def _summary(self) -> dict[str, Any]:
        """The wall-clock figures for metrics.json, up to now."""
        by_length = sorted((epoch["speed"] for epoch in self.epochs[1:] or self.epochs), key=itemgetter("seconds"))
        peak = self._peak()
        return {
            **by_length[(len(by_length) - 1) // 2],
            "first_batch_seconds": round(sum(self.first_batches.values()), 4),
            **({"peak_memory_mb": round(peak / 1e6, 1)} if peak else {}),
            "machine": machine(),
            "machine_id": machine_id(),
        }

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for live in self.lives:
            live.end()


class ProgressBar(TQDMProgressBar):
    """Lightning's progress bar, drawn at most ten times a second: Lightning draws it at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = 0.0

    def on_train_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        now = time.monotonic()
        if now - self.drawn > DRAW_SECONDS or trainer.is_last_batch:
            self.drawn = now
            super().on_train_batch_end(trainer, *arguments)


class InterruptHandler(pl.Callback):
    """`with handler:` Ctrl-C ends the fit with KeyboardInterrupt, always.

    Lightning turns the exception into SystemExit, and Python drops one that is raised in a destructor: the training
    would go on. So the signal is remembered, and KeyboardInterrupt raised again after the batch.
    """

    def __init__(self) -> None:
        self.interrupted = False

    def __enter__(self) -> None:
        self.previous = signal.getsignal(signal.SIGINT)
        if self.previous is signal.default_int_handler:  # a process in the background ignores the signal
            signal.signal(signal.SIGINT, self._interrupt)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.signal(signal.SIGINT, self.previous)
        if self.interrupted and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error

    def on_train_batch_end(self, *arguments: Any) -> None:
        if self.interrupted:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.interrupted = True
        raise KeyboardInterrupt


class BestEpoch(pl.Callback):
    """Keeps the weights of the epoch with the highest validation accuracy, the first of them.

    Attributes:
        accuracy, epoch: of the best epoch so far, counted from 1.
        weights: its state_dict of the LightningModule, on the CPU.
    """

    def __init__(self) -> None:
        self.accuracy = -1.0
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"accuracy": self.accuracy, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.accuracy, self.epoch, self.weights = state["accuracy"], state["epoch"], state["weights"]

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        accuracy = float(trainer.callback_metrics["val/accuracy"])
        if not trainer.sanity_checking and accuracy > self.accuracy:
            self.accuracy, self.epoch = accuracy, trainer.current_epoch + 1
            weights = trainer.strategy.lightning_module_state_dict()
            self.weights = {name: value.detach().to("cpu", copy=True) for name, value in weights.items()}
