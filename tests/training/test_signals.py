"""A signal ends a training with a checkpoint, one line and 128 + n; the next run ends as if nothing had happened."""

import ctypes
import functools
import os
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from formwork.signals import ENDING
from formwork.training import fit
from formwork.training.best_epoch import BestEpoch
from formwork.training.callbacks import EpochLogger
from formwork.training.datamodule import ImageDataModule
from formwork.training.module import ImageModule
from tests.training.forked import Hook, finish, note_signals, start
from tests.training.test_fit import files

pytestmark = pytest.mark.slow

EPOCHS = {"max_epochs": 3}
STEPS = 3  # an epoch


def kill_in(place: Any, name: str, call: int, number: int = signal.SIGTERM) -> Hook:
    """A hook that lets a function send a signal to its own process, in the given one of its calls."""
    return send_in(place, name, call, lambda: os.kill(os.getpid(), number))


def send_in(place: Any, name: str, call: int, send: Callable[[], object]) -> Hook:
    """A hook that lets a function send a signal first, and go on when the training knows of it."""

    def hook() -> None:
        heard = note_signals(setattr)
        do_in(place, name, call, lambda: (send(), heard()))()

    return hook


def do_in(place: Any, name: str, call: int, action: Callable[[], object]) -> Hook:
    """A hook that lets a function do something first, in the given one of its calls."""

    def hook() -> None:
        original, calls = getattr(place, name), []

        @functools.wraps(original)
        def method(*arguments, **named):
            calls.append(1)
            if len(calls) == call:
                action()
            return original(*arguments, **named)

        setattr(place, name, method)

    return hook


MOMENTS = {  # where a signal comes, and where the checkpoint is: epoch and step
    "first step": (kill_in(ImageModule, "training_step", 1), (1, 1)),
    "step": (kill_in(ImageModule, "training_step", 5), (2, 5)),
    "last step of an epoch": (kill_in(ImageModule, "training_step", 3), (1, 3)),
    "validation": (kill_in(ImageModule, "validation_step", 2 + 1), (1, 3)),
    "end of a validation": (kill_in(ImageModule, "validation_step", 2 + 2), (1, 3)),
    "validation of a later epoch": (kill_in(ImageModule, "validation_step", 2 + 3), (2, 6)),
    "after a validation": (kill_in(BestEpoch, "on_validation_end", 2), (1, 3)),
    "between epochs": (kill_in(EpochLogger, "on_train_epoch_end", 1), (1, 3)),
    "last validation": (kill_in(ImageModule, "validation_step", 2 + 5), (3, 9)),
    "end of the last epoch": (kill_in(EpochLogger, "on_train_epoch_end", 3), (3, 9)),
    "end": (kill_in(EpochLogger, "on_fit_end", 1), None),
    "writing of the model": (kill_in(fit, "save_model", 1), None),
}
BEFORE = {
    "start": kill_in(fit, "set_up_process", 1),
    "loaders": kill_in(ImageDataModule, "train_dataloader", 1),
    "sanity check": kill_in(ImageModule, "validation_step", 1),
}


@pytest.fixture(scope="module")
def whole(project: Path, tmp_path_factory) -> Path:
    """The workspace of a run that nothing interrupted."""
    workspace = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(project, workspace, symlinks=True)
    assert finish(*start(workspace, trainer=EPOCHS))[0] == 0
    return workspace


@pytest.fixture
def workspace(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def ends_as(workspace: Path, whole: Path, **sections: dict) -> str:
    """Train to the end, and compare; gives the output."""
    for out in ("train", "speed"):  # as DVC does before it runs the stage
        shutil.rmtree(workspace / out, ignore_errors=True)
    status, output = finish(*start(workspace, trainer=EPOCHS, **sections))
    assert status == 0, output
    assert (workspace / "models/best.pt").read_bytes() == (whole / "models/best.pt").read_bytes()
    return output


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_leaves_a_checkpoint_from_which_the_next_run_ends_the_same(workspace, whole, moment):
    hook, place = MOMENTS[moment]
    status, output = finish(*start(workspace, hook, trainer=EPOCHS))
    where = f"wrote a checkpoint of epoch {place[0]}, step {place[1]}" if place else "the training is done"
    assert output.splitlines()[-1] == f"Received SIGTERM: {where}; the next run goes on from there."
    assert status == 143
    assert len(list((workspace / "models/.resume").iterdir())) == 1
    output = ends_as(workspace, whole)
    assert f"Going on from step {place[1] if place else 9} of an interrupted run" in output
    assert files(workspace / "train") == files(whole / "train")


@pytest.mark.parametrize("moment", BEFORE)
def test_a_signal_before_the_first_step_ends_the_training_at_once(workspace, moment):
    status, output = finish(*start(workspace, BEFORE[moment], trainer=EPOCHS))
    assert output == "Received SIGTERM: no step was done. The next run starts as this one did.\n"
    assert status == 143
    assert not (workspace / "models").exists()


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("use_ffcv", [True, False], ids=["ffcv", "pytorch"])
def test_each_signal_sent_to_the_whole_group(workspace, whole, number, use_ffcv):
    """As a terminal, timeout and SLURM send them: worker processes get it, too."""

    data = {"use_ffcv": use_ffcv, "num_workers": 2}

    kill_group = send_in(
        ImageModule, "training_step", 4, lambda: subprocess.run(["kill", f"-{number}", "0"], check=False)
    )
    status, output = finish(*start(workspace, kill_group, data=data, trainer=EPOCHS))
    assert output.splitlines()[2:] == [
        f"Received {number.name}: wrote a checkpoint of epoch 2, step 4; the next run goes on from there."
    ]
    assert status == 128 + number
    if number == signal.SIGTERM:
        ends_as(workspace, whole, data=data)


def test_a_second_signal_ends_at_once(workspace):
    """Though the main thread is in compiled code, which no signal interrupts: time itself passes in a thread."""

    def twice() -> None:
        own = os.getpid()
        threading.Timer(0.1, os.kill, [own, signal.SIGINT]).start()
        threading.Timer(1.0, os.kill, [own, signal.SIGTERM]).start()
        end = time.monotonic() + 30
        while time.monotonic() < end:
            ctypes.CDLL(None).sleep(30)

    status, output = finish(*start(workspace, do_in(ImageModule, "training_step", 4, twice), trainer=EPOCHS))
    assert output.splitlines()[-1] == (
        "Received SIGTERM: ended at once, after SIGINT; the next run goes on from the checkpoint before."
    )
    assert status == 143


def test_without_checkpoints_it_says_so(workspace):
    hook = kill_in(ImageModule, "training_step", 4)
    status, output = finish(*start(workspace, hook, trainer={**EPOCHS, "checkpoint_minutes": None}))
    assert output.splitlines()[-1] == (
        "Received SIGTERM: no checkpoint of epoch 2, step 4, as trainer.checkpoint_minutes is null; "
        "the next run starts anew."
    )
    assert status == 143
    assert not (workspace / "models").exists()


def test_where_no_checkpoint_can_be_written_the_one_before_stays(workspace, whole):
    finish(*start(workspace, kill_in(ImageModule, "training_step", 2), trainer=EPOCHS))
    (checkpoint,) = (workspace / "models/.resume").iterdir()
    before = checkpoint.read_bytes()

    def full() -> None:
        kill_in(ImageModule, "training_step", 2)()
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, -1))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    status, output = finish(*start(workspace, full, trainer=EPOCHS))
    assert (
        f"Received SIGTERM: no checkpoint of epoch 2, step 4: Cannot write {checkpoint.relative_to(workspace)}"
        in output
    )
    assert output.endswith("The next run goes on from that of epoch 1, step 2.\n")
    assert status == 143
    assert checkpoint.read_bytes() == before
    assert "Going on from step 2" in ends_as(workspace, whole)
