"""Lightning: epochs of a Trainer whose model does nothing, against bare loops over the same loader."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from benchmarks.loader_page import of_workers
from benchmarks.one_workload import add_arguments, prepared_for, publish_or_print
from benchmarks.workloads import WORKLOADS, Prepared
from formwork.conversion.write import write_beton
from formwork.folders import Folders
from formwork.images.manifest import read_manifest
from formwork.loading.base import BaseLoader, Batch
from formwork.loading.project import ProjectData
from formwork.loading.targets import targets_of
from formwork.params import Params
from formwork.text import table
from formwork.training.best_epoch import BestEpoch
from formwork.training.callbacks import EpochLines, EpochLogger
from formwork.training.datamodule import ImageDataModule
from formwork.training.finite import FiniteLosses
from formwork.training.fit import build_trainer, own_memory, set_up_process
from formwork.training.interruption import Interruption
from formwork.training.lightning_overhead import LowOverheadModule
from formwork.training.module import ImageModule
from formwork.training.ranks import Ranks
from formwork.training.resume import PeriodicCheckpoint

__all__ = ["add_arguments", "main"]

WORKLOAD = WORKLOADS[0]  # photo, jpg 256
EPOCHS = 5  # of the workload, to make one: starting an epoch is not what a step costs
TARGET = 0.05  # of the time of a bare loop
ALONE, WHOLE = "Trainer alone", "Trainer with all of a training"


class Nothing(LowOverheadModule):
    """A model of one parameter, which looks at no image and logs nothing."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def training_step(self, batch: Batch) -> Tensor:
        return self.weight.sum()

    def validation_step(self, batch: Batch) -> None:
        """Lightning warns where a validation split is and this is not."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Recorded(ImageModule):
    """Nothing, in the place of the network and its loss; with all that is logged of a training."""

    def __init__(self, params: Params, data: ProjectData):
        targets = targets_of(data.splits["train"].manifest, data.settings.class_names)
        super().__init__(params, data.settings, targets)
        self.model = nn.ParameterList([torch.zeros(1)])

    def training_step(self, batch: Batch) -> Tensor:
        return self._record("train", batch)

    def validation_step(self, batch: Batch) -> None:
        self._record("val", batch)

    def _record(self, split: str, batch: Batch) -> Tensor:
        targets = batch[1]
        return self._log(split, self.model[0].sum(), torch.zeros(len(targets), self.task.outputs), targets)


@dataclass(frozen=True)
class Spent:
    """On an epoch. seconds: of the wall clock. thread: seconds that the training thread computed."""

    seconds: float
    thread: float

    @classmethod
    def now(cls) -> "Spent":
        return cls(time.perf_counter(), time.thread_time())

    def __sub__(self, start: "Spent") -> "Spent":
        return Spent(self.seconds - start.seconds, self.thread - start.thread)


def empty_loop(loader: BaseLoader) -> None:
    for _batch in loader:
        pass


def plain_loop(loader: BaseLoader) -> None:
    """What the Trainer alone does, without it."""
    model = Nothing()
    optimizer = model.configure_optimizers()
    for batch in loader:
        optimizer.zero_grad()
        model.training_step(batch).backward()
        optimizer.step()


def training_loop(loader: BaseLoader) -> None:
    """What a training does in its steps, as one writes it in PyTorch: a loss, AdamW, a one-cycle schedule, and sums of
    the loss and of the images that are right."""
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=0.003)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.003, total_steps=len(loader) + 1)
    losses, correct, images = torch.zeros(()), torch.zeros((), dtype=torch.long), 0
    for _, targets in loader:
        loss, outputs = weight.sum(), torch.zeros(len(targets), len(loader.class_names))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses += loss.detach() * len(targets)
        correct += (outputs.argmax(dim=1) == targets).sum()
        images += len(targets)


TRAINER, EMPTY, PLAIN = "Trainer", "empty loop", "plain PyTorch"


class Turns(pl.Callback):
    """After each epoch of the Trainer, runs one of each bare loop. The first round warms up.

    Args:
        loader: for the bare loops; made as the Trainer's is.
        plain: the loop in plain PyTorch that does what the Trainer's steps do.

    Attributes:
        spent: by name of the loop, one for each round. An epoch of the Trainer goes from the end of the bare loop
            before it to its last step: validation, and what is recorded of an epoch, are not in it.
    """

    def __init__(self, loader: BaseLoader, plain: Callable[[BaseLoader], None]):
        self.loader = loader
        self.loops = {EMPTY: empty_loop, PLAIN: plain}
        self.spent: dict[str, list[Spent]] = {name: [] for name in (TRAINER, *self.loops)}
        self.start: Spent | None = None  # none before the first round has ended

    def on_train_batch_end(self, *_: object) -> None:
        self.stop = Spent.now()

    def on_train_epoch_end(self, *_: object) -> None:
        measured = self.start is not None
        if self.start is not None:
            self.spent[TRAINER].append(self.stop - self.start)
        for name, loop in self.loops.items():
            start = Spent.now()
            loop(self.loader)
            if measured:
                self.spent[name].append(Spent.now() - start)
        self.start = Spent.now()

    def costs(self, loop: str) -> list[float]:
        """What each epoch of the Trainer took longer than the bare loop in its round, as a share of that."""
        pairs = zip(self.spent[TRAINER], self.spent[loop], strict=True)
        return [trainer.seconds / bare.seconds - 1 for trainer, bare in pairs]


def main(a: argparse.Namespace) -> None:
    with prepared_for(a, WORKLOAD, EPOCHS) as prepared:
        turns = measure(prepared, a.workers, a.rounds)
    results = {
        name: {loop: [asdict(spent) for spent in all_spent] for loop, all_spent in t.spent.items()}
        for name, t in turns.items()
    }
    publish_or_print(a, "lightning", body(turns, prepared, a.workers), results)


def measure(prepared: Prepared, workers: int, rounds: int) -> dict[str, Turns]:
    kind = prepared.workload.kind
    params = Params.model_validate(
        {
            "data": {"name": kind.name, "batch_size": kind.batch_size, "num_workers": workers},
            "augment": {"train": [{"RandomResizedCrop": {}}, {"RandomHorizontalFlip": {}}]},
            "trainer": {"max_epochs": rounds + 1, "accelerator": "cpu"},
        }
    )
    set_up_process(params.seed)
    folders = _folders(prepared)
    return {ALONE: _fit(params, folders, whole=False), WHOLE: _fit(params, folders, whole=True)}


def _folders(prepared: Prepared) -> Folders:
    """Folders in which the beton has the names that training looks for."""
    processed = prepared.folder / "processed"
    val = read_manifest(prepared.folder / "val.csv")
    write_beton(val, prepared.folder / "raw", processed / "val.beton", prepared.workload.beton, workers=1)
    (processed / "train.beton").unlink(missing_ok=True)
    (processed / "train.beton").symlink_to(prepared.beton)
    return Folders(prepared.folder / "raw", prepared.folder, processed)


def _fit(params: Params, folders: Folders, whole: bool) -> Turns:
    """whole: with the classifier, but for its network, and with the callbacks of a training."""
    data = ProjectData(params, folders)
    turns = Turns(data.loader("train"), training_loop if whole else plain_loop)
    datamodule = ImageDataModule(data)
    with tempfile.TemporaryDirectory() as name, own_memory() as memory, Interruption(Ranks()) as interruption:
        model: Recorded | Nothing
        recording: list[pl.Callback] = []
        if whole:
            model = Recorded(params, data)
            logger = EpochLogger(Path(name, "train"), Path(name, "speed"), datamodule, memory)
            losses, path = FiniteLosses(), Path(name, "resume.ckpt")
            checkpoints = PeriodicCheckpoint(path, params.trainer.checkpoint_minutes, interruption, losses)
            recording = [losses, BestEpoch(), logger, checkpoints, EpochLines(logger)]
        else:
            model = Nothing()
        trainer = build_trainer(params.trainer, [*recording, turns])
        interruption.ranks.watch(trainer)
        trainer.fit(model, datamodule=datamodule)
    return turns


def body(turns: dict[str, Turns], prepared: Prepared, workers: int) -> str:
    steps = len(turns[ALONE].loader)
    batch_size = prepared.workload.kind.batch_size
    rows = []
    for name, t in turns.items():
        seconds = {loop: statistics.median(one.seconds for one in spent) for loop, spent in t.spent.items()}
        thread = {loop: statistics.median(one.thread for one in spent) for loop, spent in t.spent.items()}
        rows.append(
            [
                name,
                *(f"{steps * batch_size / seconds[loop]:,.0f}" for loop in (EMPTY, PLAIN, TRAINER)),
                *(_share(t.costs(loop)) for loop in (EMPTY, PLAIN)),
                *(f"{thread[loop] / steps * 1e3:.2f}" for loop in (EMPTY, PLAIN, TRAINER)),
            ]
        )
    columns = [
        *(f"{loop}, images/s" for loop in (EMPTY, PLAIN, TRAINER)),
        *(f"Trainer over {loop}" for loop in (EMPTY, PLAIN)),
        *(f"{loop}, ms a step" for loop in (EMPTY, PLAIN, TRAINER)),
    ]
    verdicts = ", ".join(f"{_verdict(turns[name].costs(PLAIN))} by the {name}" for name in turns)
    return (
        "An empty loop over the loader, a loop of plain PyTorch around a model that does nothing, and a Trainer as "
        f"`train` makes it around the same, in turn: FFCVDataLoader on {prepared.workload.name}, {of_workers(workers)}"
        f", {steps} steps of {batch_size} images an epoch, medians of {len(turns[ALONE].spent[TRAINER])} epochs after "
        f"one to warm up; in brackets the range. {ALONE}: a step is the backward pass and the optimiser of one "
        f"parameter. {WHOLE}: also its metrics, its logs, its schedule and its callbacks; its loop in plain PyTorch "
        "has AdamW, the schedule, and sums of the loss and of what is right, too, but neither logs nor callbacks. The "
        "last columns are what the training thread computes, which other programs disturb less than the clock."
        f"\n\n{table(['', *columns], rows)}\n\nThe target is at most {TARGET:.0%} over {PLAIN}: {verdicts}."
    )


def _share(costs: list[float]) -> str:
    return f"**{statistics.median(costs):.1%}** ({min(costs):.1%} to {max(costs):.1%})"


def _verdict(costs: list[float]) -> str:
    missed = statistics.median(costs) - TARGET
    return f"missed by {missed:.1%}" if missed > 0 else "met"
