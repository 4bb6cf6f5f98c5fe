"""A killed run goes on where it was, and ends as if nothing had happened."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from formwork import code, own
from formwork.training.resume import OTHERS, checkpoint_path, find_checkpoint
from formwork.yaml import dump_yaml
from tests.processes import TIMEOUT
from tests.training import forked
from tests.training.conftest import folders_of, make_params, merged
from tests.training.killed import write_down_and_die
from tests.training.test_fit import curve, files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

# src/train.py as a command.
TRAIN = """
import sys
sys.path[:0] = [SRC, ROOT]
from tests.training.killed import write_down_and_die
write_down_and_die(0)
import train
train.main()
"""
EPOCHS, CHECKPOINTS = 3, 9  # of an uninterrupted run: after 2 of 3 steps of each epoch, and at its end
TWO = {"devices": 2, "strategy": "ddp"}


def cleared(workspace: Path, **trainer) -> dict:
    """Remove what the run before has written; params of one with a checkpoint after each step."""
    for file in workspace.glob("samples *"):
        file.unlink()
    for out in ("train", "speed"):  # as DVC does before it runs the stage
        shutil.rmtree(workspace / out, ignore_errors=True)
    return {"accelerator": "cpu", "max_epochs": EPOCHS, "checkpoint_minutes": 0} | trainer


def train(workspace: Path, kill_after: int = 0, repository: Path | None = None, **trainer) -> str:
    """Train in a copy of this process, which need not import anything; gives what it printed.

    Args:
        repository: that the checkpoint belongs to the code of, src/own included (default: this one without src/own).
    """

    def change() -> None:
        write_down_and_die(kill_after)
        if repository:
            code.PACKAGE = repository / "src/formwork"
            own.use(repository)

    settings = cleared(workspace, **trainer)
    status, output = forked.finish(*forked.start(workspace, change, trainer=settings))
    assert status == (-signal.SIGKILL if kill_after else 0), output
    return output


def train_by_command(workspace: Path, ffcv: dict | None = None, **trainer) -> str:
    """Train by src/train.py; gives what it printed."""
    settings = cleared(workspace, **trainer)
    (workspace / "params.yaml").write_text(dump_yaml(merged(trainer=settings, ffcv=ffcv or {})))
    places = {"SRC": repr(str(SRC)), "ROOT": repr(str(ROOT))}
    (workspace / "command.py").write_text(re.sub("|".join(places), lambda name: places[name[0]], TRAIN))
    folders = [f"data/{kind}/colours" for kind in ("raw", "interim", "processed")]
    done = subprocess.run(
        [sys.executable, "command.py", *folders, "models/best.pt", "train", "speed"],
        cwd=workspace,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def batches(workspace: Path) -> list[tuple[int, ...]]:
    """(epoch, sample ids) of every global batch that was made, the shares of the ranks put together."""
    found = defaultdict(list)
    for file in sorted(workspace.glob("samples *")):
        for number, line in enumerate(file.read_text().splitlines()):
            epoch, *ids = map(int, line.split())
            found[number, epoch] += ids
    return [(epoch, *ids) for (_, epoch), ids in sorted(found.items())]


@pytest.fixture
def workspace(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


@pytest.fixture(scope="module")
def whole(project: Path, tmp_path_factory) -> Path:
    """The workspace of a run that nothing interrupted."""
    workspace = tmp_path_factory.mktemp("whole") / "project"
    shutil.copytree(project, workspace, symlinks=True)
    assert "Going on" not in train(workspace)
    assert len(batches(workspace)) == 3 * EPOCHS
    return workspace


@pytest.mark.parametrize("kill_after", [2, 3, 4, 8])
def test_a_killed_run_ends_with_the_same_weights_and_curves(workspace, whole, kill_after):
    train(workspace, kill_after)
    output = train(workspace)
    assert f"Going on from step {kill_after} of an interrupted run: models/.resume/" in output
    assert batches(workspace) == batches(whole)[kill_after:]
    assert (workspace / "models/best.pt").read_bytes() == (whole / "models/best.pt").read_bytes()
    assert files(workspace / "train") == files(whole / "train")
    seconds = curve(workspace / "speed", "seconds")
    assert [row[0] for row in seconds[1:]] == ["1", "2", "3"]
    assert list((workspace / "models/.resume").iterdir()) == []


def test_killed_again_and_again(workspace, whole):
    for kill_after in (2, 2, 3):
        train(workspace, kill_after)
    assert "Going on from step 7" in train(workspace)
    assert (workspace / "models/best.pt").read_bytes() == (whole / "models/best.pt").read_bytes()
    assert files(workspace / "train") == files(whole / "train")


def test_from_one_process_to_two_which_see_what_one_does(workspace, whole):
    train(workspace, 4, ROOT)
    output = train_by_command(workspace, ffcv={"distributed": True}, **TWO)
    assert "Going on from step 4 " in output
    assert batches(workspace) == batches(whole)[4:]
    metrics = json.loads((workspace / "train/metrics.json").read_text())
    expected = json.loads((whole / "train/metrics.json").read_text())
    assert metrics["step"] == expected["step"]
    assert metrics["train"]["accuracy"] == pytest.approx(expected["train"]["accuracy"], abs=0.1)


def test_other_params_data_or_code_start_anew(workspace):
    train(workspace, 2)
    assert "Going on" not in train(workspace, precision="bf16-mixed")
    folders = folders_of(workspace)
    path = checkpoint_path(workspace, make_params(), folders)
    assert path == checkpoint_path(workspace, make_params(trainer={"max_epochs": 2, "devices": 1}), folders)
    assert path == checkpoint_path(workspace, make_params(ffcv={"os_cache": False}), folders)
    for sections in ({"seed": 1}, {"data": {"batch_size": 8}}, {"ffcv": {"order": "random"}}, {"train": {"lr": 1.0}}):
        assert path != checkpoint_path(workspace, make_params(**sections), folders)
    (folders.interim / "val.csv").write_bytes((folders.interim / "val.csv").read_bytes() + b"\n")
    assert path != checkpoint_path(workspace, make_params(), folders)


def test_only_an_edit_of_code_that_training_depends_on_starts_anew(workspace, whole):
    """Each run is killed after a step, and the next one has other code."""
    src = Path(shutil.copytree(SRC, workspace / "src", ignore=shutil.ignore_patterns("__pycache__")))
    train(workspace, 2, workspace)
    for edited, resumes in [
        (["formwork/datasets/link.py", "formwork/evaluation/metrics.py"], True),
        (["formwork/images/pixels.py"], False),
        (["own/operations.py"], False),
    ]:
        for file in edited:
            with (src / file).open("a") as stream:
                stream.write("\nANOTHER_CONSTANT = 1\n")
        train(workspace, 1, workspace)
        assert batches(workspace)[0] == batches(whole)[2 if resumes else 0], edited


def test_without_checkpoints_nothing_is_written_or_taken_up(workspace):
    train(workspace, 2)
    (checkpoint,) = (workspace / "models/.resume").iterdir()
    assert "Going on" not in train(workspace, checkpoint_minutes=None)
    assert batches(workspace)[0][0] == 0
    assert len(batches(workspace)) == 3 * EPOCHS
    assert not checkpoint.exists()  # the run that it belonged to is done


def test_a_damaged_checkpoint_is_told_and_left_alone(tmp_path, capsys):
    path = tmp_path / "run.ckpt"
    assert find_checkpoint(path) is None
    path.write_bytes(b"no checkpoint")
    assert find_checkpoint(path) is None
    assert f"{path}, of an interrupted run, cannot be used" in capsys.readouterr().out


def test_only_the_last_runs_that_were_interrupted_are_kept(tmp_path):
    for age in range(OTHERS + 3):
        (tmp_path / f"{age}.ckpt").write_bytes(b"")
        os.utime(tmp_path / f"{age}.ckpt", (0, 1000 - age))
    find_checkpoint(tmp_path / "new.ckpt")
    assert sorted(path.stem for path in tmp_path.iterdir()) == [str(age) for age in range(OTHERS + 1)]
