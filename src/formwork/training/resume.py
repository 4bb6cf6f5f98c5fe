"""Going on after an interruption: where a run's checkpoint lies, when it is written, and which run may use it."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from formwork import own
from formwork.code import CHECKPOINT, code_digest
from formwork.errors import FormworkError
from formwork.files import atomic_write
from formwork.folders import Folders
from formwork.loading.base import Batch
from formwork.params import Params
from formwork.training.finite import FiniteLosses, wrong_means
from formwork.training.interruption import Interruption, Stopped
from formwork.training.module import means_of
from formwork.training.ranks import Ranks

UNRELATED = {  # params of the sections below that change only where and how fast a run trains
    "data": {"num_workers", "fetch", "split", "on_bad_image"},
    "ffcv": {"os_cache", "distributed", "batches_ahead", "fallback"},
    "trainer": {"num_nodes", "devices", "strategy", "accelerator", "checkpoint_minutes", "loggers"},
}
SECTIONS = ("data", "ffcv", "augment", "model", "train", "trainer", "seed")
OTHERS = 3  # number of checkpoints of other interrupted runs that are kept
DUE, SIGNAL, NOT_FINITE = 1, 100, 1000  # what a rank wishes at the end of a step; the number of a signal is added
NEXT = "the next run goes on from there."


def checkpoint_path(folder: Path, params: Params, folders: Folders, initial: Path | None = None) -> Path:
    """Path of a run's checkpoint, named by a digest of all that the run's result depends on: code, params, data.

    So no run can resume from another's. Devices and workers are not part of the digest.

    Args:
        folder: outside of every output of a stage, which DVC removes before it runs the stage.
        initial: file of the weights that it starts from, where model.weights names some.
    """
    digest = hashlib.sha256(torch.__version__.encode())
    for section in SECTIONS:
        value = getattr(params, section)
        content = value if section == "seed" else value.model_dump(exclude=UNRELATED.get(section))
        digest.update(json.dumps([section, content], sort_keys=True).encode())
    for name in ("train.csv", "val.csv", "dataset.json"):
        digest.update(hashlib.sha256((folders.interim / name).read_bytes()).digest())
    if initial and params.model.weights:
        digest.update(hashlib.sha256(initial.read_bytes()).digest())
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


class NotFiniteError(FormworkError):
    """A loss, a metric or a weight is nan or infinite."""


class CheckpointFile(TorchCheckpointIO):
    """Writes checkpoints where they stay. Lightning would keep the whole of one in memory, and then in /tmp.

    Processes that torchrun or srun started get that of the first one, whose node alone may have the file.
    """

    def __init__(self, ranks: Ranks):
        super().__init__()
        self.ranks = ranks

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with atomic_write(Path(path)) as file:
            torch.save(checkpoint, file)

    def load_checkpoint(self, path: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
        def read() -> dict[str, Any]:
            return super(CheckpointFile, self).load_checkpoint(path, *arguments, **named)

        trainer = self.ranks.trainer
        if trainer is None or self.ranks.meeting.process is None:
            return read()
        return trainer.strategy.broadcast(read() if self.ranks.first else {})


class PeriodicCheckpoint(pl.Callback):
    """Writes Lightning's checkpoint of the whole run every few minutes, between two steps, and when it is to end.

    All ranks do all of it together.

    Args:
        path: see checkpoint_path; each checkpoint replaces the one before atomically.
        minutes: between two checkpoints; 0: after each step; None: none are written.
        interruption: says when the training is to end.
        losses: that are to be finite; None: they need not.
        advice: what to do where they are not.
    """

    def __init__(
        self,
        path: Path,
        minutes: float | None,
        interruption: Interruption,
        losses: FiniteLosses | None = None,
        advice: str = "",
    ):
        self.path = path
        self.minutes = minutes
        self.interruption = interruption
        self.losses = losses
        self.advice = advice
        self.random_state: torch.Tensor | None = None
        self.last = time.monotonic()
        self.written = ""  # epoch and step of the last one
        self.finished = 0  # epochs
        self.met = False  # in the current validation

    def state_dict(self) -> dict[str, Any]:
        return {"random_state": torch.get_rng_state(), "finished": self.finished}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.random_state, self.finished = state["random_state"], state["finished"]

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.random_state is not None:
            torch.set_rng_state(self.random_state)
            self.written = _place(trainer)
        self.last = time.monotonic()
        self.interruption.begin()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        # Between two steps of the optimiser, as no checkpoint has gradients; and not after the last batch: the
        # validation that follows it belongs to the same step for Lightning.
        batches = batch_idx + 1
        if batches < trainer.num_training_batches and batches % trainer.accumulate_grad_batches == 0:
            self._save(trainer)

    def on_validation_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.met = trainer.sanity_checking
        if self.losses and not self.met:
            self.losses.look(trainer)
        self._meet(trainer, last=False)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._meet(trainer, last=batch_idx + 1 == trainer.num_val_batches[0])

    def _meet(self, trainer: pl.Trainer, last: bool) -> None:
        """Ask all ranks once a validation whether it is to end: at its last batch, or as soon as there is a reason."""
        if not self.met and (last or self._wish()):
            self.met = True
            self._act(trainer, self._wish())

    def on_validation_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._check_means(trainer, module)

    def _check_means(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        wrong = wrong_means(means_of(module))
        if self.losses and wrong:
            self.losses.found = self.losses.found or (trainer.current_epoch + 1, trainer.global_step, wrong[0])
            self._act(trainer, NOT_FINITE)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.losses:  # they have been looked at before a validation, but not each epoch has one
            self._act(trainer, NOT_FINITE if self.losses.look(trainer) else 0)
            self._check_means(trainer, module)
        self.finished = trainer.current_epoch + 1
        self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The last checkpoint, from which a run whose model could not be written goes on."""
        self._act(trainer, DUE if self.minutes is not None else 0)

    def _save(self, trainer: pl.Trainer) -> None:
        due = self.minutes is not None and time.monotonic() - self.last >= 60 * self.minutes
        self._act(trainer, max(self._wish(), DUE if due else 0))

    def _wish(self) -> int:
        if self.losses and self.losses.found:
            return NOT_FINITE
        return SIGNAL + self.interruption.number if self.interruption.number else 0

    def _act(self, trainer: pl.Trainer, wish: int) -> None:
        """Do what the rank that wishes most wishes."""
        ranks = self.interruption.ranks
        wish = ranks.highest(wish)
        if wish and self.losses:  # nothing that is not finite is saved
            wish = ranks.highest(NOT_FINITE if self.losses.look(trainer) else wish)
        if wish == NOT_FINITE:
            raise self._not_finite(trainer)
        if wish == DUE:
            self._write(trainer)
        elif wish:
            self.interruption.number = wish - SIGNAL
            self._write_last(trainer)
            raise Stopped

    def _write(self, trainer: pl.Trainer) -> None:
        trainer.save_checkpoint(self.path)
        self.written = _place(trainer)
        self.last = time.monotonic()

    def _write_last(self, trainer: pl.Trainer) -> None:
        before = f"{NEXT.replace('there', f'that of {self.written}')}" if self.written else "the next run starts anew."
        if self.minutes is None:
            before = "the next run starts anew."
            outcome = f"no checkpoint of {_place(trainer)}, as trainer.checkpoint_minutes is null; {before}"
        else:
            try:
                self._write(trainer)
                outcome = f"wrote a checkpoint of {self.written}; {NEXT}"
            except FormworkError as error:
                outcome = f"no checkpoint of {_place(trainer)}: {error} {before[0].upper()}{before[1:]}"
        self.interruption.outcome = outcome

    def _not_finite(self, trainer: pl.Trainer) -> NotFiniteError:
        assert self.losses is not None
        ranks = self.interruption.ranks
        step = -ranks.highest(-self.losses.found[1] if self.losses.found else -(2**62))
        found = self.losses.found or (trainer.current_epoch + 1, step, "training loss is not finite")
        good = f"Epoch {self.finished} is the last with finite losses." if self.finished else "No epoch was finished."
        if self.written:
            good += f" The last checkpoint is that of {self.written}: {self.path}."
        return NotFiniteError(f"The {found[2]} at epoch {found[0]}, step {step}. {good} {self.advice}")

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """In the middle of a validation, let the next run begin with the whole of it."""
        if trainer.validating:
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            progress["total"] = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress["current"] = dict.fromkeys(progress["current"], 0)
            progress["is_last_batch"] = False


def _place(trainer: pl.Trainer) -> str:
    return f"epoch {min(trainer.current_epoch + 1, trainer.max_epochs or 0)}, step {trainer.global_step}"
