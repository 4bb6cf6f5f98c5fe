"""Lightning: epochs of a Trainer whose model does nothing, against a bare loop over the same loader."""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from formwork.bench.loader import QUICK, add_common_arguments, folder_of, positive
from formwork.bench.loader_page import of_workers
from formwork.bench.page import publish
from formwork.bench.workloads import WORKLOADS, Prepared, prepare
from formwork.beton.write import write_beton
from formwork.datasets.manifest import read_manifest
from formwork.datasets.settings import Settings
from formwork.loading.common import Batch, Epochs
from formwork.markdown import table
from formwork.params import Params
from formwork.training.callbacks import Best, EpochLog, Interruption, ProgressBar
from formwork.training.data import Folders, ImageData
from formwork.training.fit import build_trainer, own_memory, set_up_process
from formwork.training.module import Classifier
from formwork.training.resume import Resume

WORKLOAD = WORKLOADS[0]  # photo, jpg 256
TARGET = 0.05  # of the time of the bare loop
ALONE, WHOLE = "Trainer alone", "Trainer with all of a training"


class Nothing(pl.LightningModule):
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


class Recorded(Classifier):
    """Nothing, in the place of the network and its loss; with all that is logged of a training."""

    def __init__(self, params: Params, settings: Settings):
        super().__init__(params.model.name, len(settings.class_names), settings.resolution, params.train)
        self.model = nn.ParameterList([torch.zeros(1)])

    def _step(self, split: str, batch: Batch, label_smoothing: float) -> Tensor:
        loss = self.model[0].sum()
        return self._log(split, loss.detach(), torch.zeros(len(batch[1])), loss)


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


class Pairs(pl.Callback):
    """After each epoch of the Trainer, runs one of a bare loop. The first epoch of the Trainer warms up.

    Args:
        loader: for the bare loop; made as the Trainer's is.

    Attributes:
        bare, fit: one for each epoch. An epoch of the Trainer goes from the end of the bare one before it to its last
            step: validation, and what is recorded of an epoch, are not in it.
    """

    def __init__(self, loader: Epochs):
        self.loader = loader
        self.bare: list[Spent] = []
        self.fit: list[Spent] = []

    def on_train_batch_end(self, *_: object) -> None:
        self.stop = Spent.now()

    def on_train_epoch_end(self, *_: object) -> None:
        if self.bare:
            self.fit.append(self.stop - self.start)
        start = Spent.now()
        for _batch in self.loader:
            pass
        self.start = Spent.now()
        self.bare.append(self.start - start)

    @property
    def costs(self) -> list[float]:
        """What each epoch of the Trainer took longer than the bare one before it, as a share of that."""
        return [fit.seconds / bare.seconds - 1 for bare, fit in zip(self.bare, self.fit, strict=False)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=positive, default=len(os.sched_getaffinity(0)), help="of the loader")
    add_common_arguments(parser)


def main(a: argparse.Namespace) -> None:
    with folder_of(a.folder) as folder:
        prepared = prepare(WORKLOAD, folder, WORKLOAD.kind.count // (QUICK if a.quick else 1))
        pairs = measure(prepared, a.workers, a.rounds)
    text = body(pairs, prepared, a.workers)
    if a.quick:
        print(text)
        return
    results = {
        name: {"bare": [asdict(spent) for spent in p.bare], "trainer": [asdict(spent) for spent in p.fit]}
        for name, p in pairs.items()
    }
    command = f"python src/bench.py lightning --workers {a.workers} --rounds {a.rounds}"
    publish("lightning", command, text, results, a.page, a.results)


def measure(prepared: Prepared, workers: int, rounds: int) -> dict[str, Pairs]:
    """One more epoch of the Trainer than rounds, to warm up."""
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
    """Of the beton, under the names that training looks for."""
    processed = prepared.folder / "processed"
    val = read_manifest(prepared.folder / "val.csv")
    write_beton(val, prepared.folder / "raw", processed / "val.beton", prepared.workload.beton, workers=1)
    (processed / "train.beton").unlink(missing_ok=True)
    (processed / "train.beton").symlink_to(prepared.beton)
    return Folders(prepared.folder / "raw", prepared.folder, processed)


def _fit(params: Params, folders: Folders, whole: bool) -> Pairs:
    """whole: with the classifier, but for its network, and with the callbacks of a training."""
    data = ImageData(params, folders)
    pairs = Pairs(data.loader("train"))
    with tempfile.TemporaryDirectory() as name, own_memory() as memory:
        if whole:
            model = Recorded(params, data.settings)
            recording = [
                Best(),
                EpochLog(Path(name, "train"), Path(name, "speed"), memory),
                Resume(Path(name, "resume.ckpt"), params.trainer.checkpoint_minutes),
            ]
        else:
            model, recording = Nothing(), []
        trainer = build_trainer(params.trainer, [Interruption(), *recording, ProgressBar(), pairs])
        trainer.fit(model, datamodule=data)
    return pairs


def body(pairs: dict[str, Pairs], prepared: Prepared, workers: int) -> str:
    steps = len(pairs[ALONE].loader)
    batch_size = prepared.workload.kind.batch_size
    rows = []
    for name, p in pairs.items():
        bare, fit = (statistics.median(spent.seconds for spent in epochs) for epochs in (p.bare, p.fit))
        threads = (statistics.median(spent.thread for spent in epochs) for epochs in (p.bare, p.fit))
        rows.append(
            [
                name,
                *(f"{steps * batch_size / seconds:,.0f}" for seconds in (bare, fit)),
                f"**{statistics.median(p.costs):.1%}**",
                f"{min(p.costs):.1%} to {max(p.costs):.1%}",
                *(f"{seconds / steps * 1e3:.2f}" for seconds in threads),
            ]
        )
    columns = [
        "bare loop, images/s",
        "Trainer, images/s",
        "cost",
        "range",
        "bare loop, ms a step",
        "Trainer, ms a step",
    ]
    cost = statistics.median(pairs[ALONE].costs)
    verdict = "met" if cost <= TARGET else f"missed by {cost - TARGET:.1%}"
    return (
        "`for batch in loader`, and a Trainer as `train` makes it with a model that does nothing, in turn: "
        f"FFCVDataLoader on {prepared.workload.name}, {of_workers(workers)}, {steps} steps of {batch_size} images an "
        f"epoch, medians of {len(pairs[ALONE].fit)} epochs after one to warm up. {ALONE}: a step is the backward pass "
        f"and the optimiser of one parameter. {WHOLE}: also its metrics, its logs, its schedule and its callbacks. "
        "The last two columns are what the training thread computes, which other programs disturb less than the clock."
        f"\n\n{table(['', *columns], rows)}\n\nThe target for the {ALONE} is at most {TARGET:.0%}: {verdict}."
    )
