"""Going on after an interruption: where a run's checkpoint lies, when it is written, and which run may use it."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from formwork import own
from formwork.code import CHECKPOINT, code_digest
from formwork.folders import Folders
from formwork.loading.base import Batch
from formwork.params import Params

UNRELATED = {  # params of the sections below that change only where and how fast a run trains
    "data": {"num_workers", "fetch", "val_fraction", "on_bad_image"},
    "ffcv": {"os_cache", "distributed", "batches_ahead", "fallback"},
    "trainer": {"devices", "strategy", "accelerator", "checkpoint_minutes"},
}
SECTIONS = ("data", "ffcv", "augment", "model", "train", "trainer", "seed")
OTHERS = 3  # number of checkpoints of other interrupted runs that are kept


def checkpoint_path(folder: Path, params: Params, folders: Folders) -> Path:
    """Path of a run's checkpoint, named by a digest of all that the run's result depends on: code, params, data.

    So no run can resume from another's. Devices and workers are not part of the digest.

    Args:
        folder: outside of every output of a stage, which DVC removes before it runs the stage.
    """
    digest = hashlib.sha256(torch.__version__.encode())
    for section in SECTIONS:
        value = getattr(params, section)
        content = value if section == "seed" else value.model_dump(exclude=UNRELATED.get(section))
        digest.update(json.dumps([section, content], sort_keys=True).encode())
    for name in ("train.csv", "val.csv", "dataset.json"):
        digest.update(hashlib.sha256((folders.interim / name).read_bytes()).digest())
    digest.update(code_digest(CHECKPOINT, own.folder()).encode())
    return folder / f"{digest.hexdigest()[:32]}.ckpt"


def find_checkpoint(path: Path) -> dict[str, Any] | None:
    """Load the checkpoint of an interrupted run at this path, if there is one that can be used.

    Older checkpoints of other runs are removed, but for the newest OTHERS.
    """
    for other in sorted(path.parent.glob("*.ckpt"), key=lambda other: other.stat().st_mtime)[: -OTHERS - 1]:
        other.unlink(missing_ok=True)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # torch.load raises many kinds on damaged files
        print(f"{path}, of an interrupted run, cannot be used ({error}): starting anew")
        return None


class PeriodicCheckpoint(pl.Callback):
    """Writes Lightning's checkpoint of the whole run every few minutes, between two steps.

    Args:
        path: see checkpoint_path; each checkpoint replaces the one before atomically.
        minutes: between two checkpoints; 0: after each step.
    """

    def __init__(self, path: Path, minutes: float):
        self.path = path
        self.minutes = minutes
        self.random_state: torch.Tensor | None = None
        self.last = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"random_state": torch.get_rng_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.random_state = state["random_state"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.random_state is not None:
            torch.set_rng_state(self.random_state)
        self.last = time.monotonic()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        # Not after the last batch: the validation that follows it belongs to the same step for Lightning.
        if batch_idx + 1 < trainer.num_training_batches:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        due = time.monotonic() - self.last >= 60 * self.minutes
        if not trainer.strategy.reduce_boolean_decision(due, all=False):  # of all ranks: saving is done together
            return
        temporary = self.path.with_suffix(".tmp")
        trainer.save_checkpoint(temporary)
        if trainer.is_global_zero:
            os.replace(temporary, self.path)
        self.last = time.monotonic()
