"""What is recorded while training: metrics by epoch with DVCLive, and where the time goes."""

import time
from pathlib import Path

import pytorch_lightning as pl
from dvclive import Live

from formwork.training.data import ImageData


class EpochLog(pl.Callback):
    """Logs each epoch with DVCLive; the step of every curve is the epoch, counted from 1.

    Into `results`: loss and accuracy of both splits, and the loader really used. The same params give the same files.
    Into `speed`: the wall-clock figures, which differ from run to run and so stand apart: seconds of the epoch's
    training part, images/s in it, and the seconds and the share of it spent waiting for data.
    """

    def __init__(self, results: Path, speed: Path):
        self.results = results
        self.speed = speed
        self.lives: tuple[Live, ...] = ()

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            # dvcyaml and save_dvc_exp would rewrite dvc.yaml and commit, which is for DVC and the user to do.
            self.lives = tuple(
                Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None)
                for folder in (self.results, self.speed)
            )

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.start = self.stop = time.perf_counter()
        self.images = 0

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, outputs, batch, index: int) -> None:
        self.stop = time.perf_counter()  # the last one of an epoch comes before its validation
        self.images += len(batch[1])

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.lives:
            return
        data: ImageData = trainer.datamodule
        seconds = self.stop - self.start
        waited = trainer.train_dataloader.clock.seconds
        results, speed = self.lives
        results.step = speed.step = trainer.current_epoch + 1
        results.log_metric("loader", data.loader_used, plot=False)
        for name in ("train/loss", "train/accuracy", "val/loss", "val/accuracy"):
            results.log_metric(name, float(trainer.callback_metrics[name]))
        speed.log_metric("loader", data.loader_used, plot=False)
        speed.log_metric("images_per_second", round(self.images * trainer.world_size / seconds, 1))
        speed.log_metric("seconds", round(seconds, 4))
        speed.log_metric("waiting_seconds", round(waited, 4))
        speed.log_metric("waiting_share", round(waited / seconds, 4))
        for live in self.lives:
            live.make_summary()

    def on_fit_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        for live in self.lives:
            live.end()
