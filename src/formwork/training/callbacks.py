"""Callbacks: metrics and times of each epoch with DVCLive, and what is shown meanwhile."""

import time
from math import isfinite
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from dvclive import Live
from tqdm import tqdm

from formwork.errors import FormworkError
from formwork.files import write_text, writing
from formwork.loading.base import Batch
from formwork.progress import progress
from formwork.system import PeakMemory, machine, machine_id, software
from formwork.tasks import TASKS
from formwork.tasks.base import Task
from formwork.text import score
from formwork.training.datamodule import ImageDataModule
from formwork.training.module import of_ours


class EpochLogger(pl.Callback):
    """Logs each epoch with DVCLive; the step of every curve is the epoch, counted from 1.

    Into `results`: loss and metrics of both splits, and the loader really used. The same params give the same files.
    What is not finite is null in metrics.json, and left out of the curves; in these, an epoch without validation has
    nothing of it. Of metrics of other tasks the curves have a header and no epochs, because dvc.yaml names the files of
    them all.

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
        self.writes = False
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
        self.writes = trainer.is_global_zero
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
            "results": of_ours(module).end_epoch(),
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
        try:
            with writing(self.results):
                self._write(epoch)
        except FormworkError:
            for live in self.lives:  # what is cut short is no JSON; the run that goes on writes all of it again
                Path(live.metrics_file).unlink(missing_ok=True)
            raise

    def _write(self, epoch: dict[str, Any]) -> None:
        if self.writes and not self.lives:  # not before there is something to write: it removes what was there
            # dvcyaml and save_dvc_exp would rewrite dvc.yaml and commit, which is for DVC and the user to do.
            self.lives = tuple(
                Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None)
                for folder in (self.results, self.speed)
            )
        for live, metrics in zip(self.lives, (epoch["results"], epoch["speed"]), strict=False):
            live.step = epoch["epoch"]
            live.log_metric("loader", epoch["loader"], plot=False)
            for name, value in metrics.items():
                live.log_metric(name, value, plot=isfinite(value))
                if not isfinite(value):
                    split, kind = name.split("/")
                    live.summary[split][kind] = None  # DVCLive writes a text
            if metrics is epoch["speed"]:
                live.summary.update(self._summary())
            live.make_summary()
            if metrics is epoch["results"]:
                self._write_headers(Path(live.plots_dir) / "metrics")

    def _write_headers(self, folder: Path) -> None:
        """Of the curves that have no epochs."""
        for name in dict.fromkeys(name for task in TASKS for name in logged(task)):
            path = folder / f"{name}.tsv"
            if not path.exists():
                write_text(path, f"step\t{path.stem}\n")

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
            "software": software(),
        }

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        with writing(self.results):
            for live in self.lives:
                live.end()


def logged(task: Task | type[Task]) -> list[str]:
    """Names of what is logged of each epoch, such as train/loss."""
    names = ("loss", *task.metrics)
    return [*(f"train/{name}" for name in names), *(f"val/{name}" for name in (*names, *task.val_metrics))]


def header(task: Task) -> str:
    """Of the lines of EpochLines."""
    titles = (("val loss" if name == "val/loss" else name.partition("/")[2]) for name in logged(task))
    return " " * 11 + "".join(f" {title:>8}" for title in titles) + " images/s seconds  loader"


class EpochLines(pl.Callback):
    """A line for each epoch; and on a terminal a bar over the batches of the running one."""

    def __init__(self, logger: EpochLogger):
        self.logger = logger
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            print(header(of_ours(module).task), flush=True)

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        if self.bar is None and trainer.is_global_zero:
            validates = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
            total = int(trainer.num_training_batches) + (sum(map(int, trainer.num_val_batches)) if validates else 0)
            self.bar = progress(total=total, name=_epoch(trainer), unit="batches")
            self.bar.update(batch_idx)  # of an epoch that was interrupted

    def on_train_batch_end(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.update()

    def on_validation_batch_end(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.update()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        if trainer.is_global_zero:
            epoch = self.logger.epochs[-1]
            names, found = logged(of_ours(module).task), epoch["results"]
            means = "".join(f" {score(found[name]) if name in found else '-':>8}" for name in names)
            speed = f" {epoch['speed']['images_per_second']:8,.0f} {epoch['speed']['seconds']:7.1f}"
            print(f"{_epoch(trainer):11}{means}{speed}  {epoch['loader']}", flush=True)


def _epoch(trainer: pl.Trainer) -> str:
    return f"Epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
