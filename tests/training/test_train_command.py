"""src/train.py as DVC calls it: real processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from formwork.images.manifest import read_manifest
from formwork.yaml import dump_yaml
from tests.processes import TIMEOUT, left
from tests.terminal import on_terminal, screen
from tests.training import forked
from tests.training.conftest import merged

pytestmark = pytest.mark.slow

TRAIN = Path(__file__).parents[2] / "src" / "train.py"
FOLDERS = [f"data/{kind}/colours" for kind in ("raw", "interim", "processed")]
COMMAND = [sys.executable, str(TRAIN), *FOLDERS, "best.pt", "train", "speed"]


@pytest.fixture
def workspace(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def start(workspace: Path, **sections: dict) -> subprocess.Popen[str]:
    (workspace / "params.yaml").write_text(dump_yaml(merged(**sections)))
    return subprocess.Popen(
        COMMAND, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


TWO = {"devices": 2, "strategy": "ddp", "accelerator": "cpu"}


def validation_images(workspace: Path) -> int:
    return len(read_manifest(workspace / "data/interim/colours/val.csv"))


@pytest.mark.parametrize("last", ["share", "nothing"])
def test_two_processes_count_every_validation_image_once(workspace, last):
    images = validation_images(workspace)
    assert images % 2 == 1, "the case that padding with duplicates would get wrong"
    # Of the last batch, the second process gets fewer images than the first, or none at all.
    batch_size = 16 if last == "share" else images - 1
    data = {"batch_size": batch_size}
    process = start(workspace, trainer={**TWO, "max_epochs": 1}, ffcv={"distributed": True}, data=data)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output
    metrics = json.loads((workspace / "train/metrics.json").read_text())
    right = metrics["val"]["accuracy"] * images
    assert right == pytest.approx(round(right), abs=1e-4)
    assert (workspace / "best.pt").is_file()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_dies_ends_the_other(workspace, rank):
    process = start(workspace, trainer={**TWO, "max_epochs": 100_000}, ffcv={"distributed": True})
    for line in process.stdout:
        if "Epoch 1" in line:
            break
    parent = psutil.Process(process.pid)
    (other,) = [p for p in parent.children(recursive=True) if str(TRAIN) in p.cmdline()]
    (parent if rank == 0 else other).kill()
    process.communicate(timeout=TIMEOUT)  # to the end of both: they share the pipe
    assert process.returncode != 0
    assert not (workspace / "best.pt").exists()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"trainer": TWO}, "trainer.devices is 2 while ffcv.distributed is false"),
        (
            {"trainer": TWO, "ffcv": {"distributed": True}, "data": {"batch_size": 15}},
            "data.batch_size 15 cannot be shared equally by trainer.devices 2",
        ),
    ],
)
def test_processes_that_could_not_share_are_refused(workspace, sections, message):
    status, output = forked.finish(*forked.start(workspace, **sections))
    assert status == 1
    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("to", "number", "use_ffcv"), [(0, signal.SIGTERM, True), (1, signal.SIGINT, False), (None, signal.SIGUSR1, False)]
)
def test_a_signal_to_any_of_two_processes_ends_both_with_one_checkpoint(workspace, to, number, use_ffcv):
    """None: to the whole group."""
    sections = {
        "trainer": {**TWO, "max_epochs": 100_000},
        "ffcv": {"distributed": True},
        "data": {"use_ffcv": use_ffcv},
    }
    process = start(workspace, **sections)
    for line in process.stdout:
        if "Epoch 2" in line:
            break
    parent = psutil.Process(process.pid)
    started = [child.pid for child in parent.children(recursive=True)]
    # Workers of the first process are copies of it, with its command; they are younger.
    other = min((child for child in parent.children() if str(TRAIN) in child.cmdline()), key=psutil.Process.create_time)
    if to is None:
        os.killpg(process.pid, number)
    else:
        os.kill((process.pid, other.pid)[to], number)
    output, _ = process.communicate(timeout=TIMEOUT)
    *epochs, line = output.splitlines()
    assert re.fullmatch(rf"Received {number.name}: wrote a checkpoint of epoch \d+, step \d+; the next .*", line), (
        output
    )
    assert all(epoch.startswith("Epoch ") for epoch in epochs), output
    assert process.returncode == 128 + number
    assert left(started) == []
    assert len(list((workspace / ".resume").iterdir())) == 1
    assert not (workspace / "best.pt").exists()


def test_the_bar_of_an_epoch_is_gone_when_its_line_is_written(workspace):
    (workspace / "params.yaml").write_text(dump_yaml(merged(augment={"train": [{"Resize": {}}]})))
    status, output = on_terminal(COMMAND, columns=80, cwd=workspace)
    lines = screen(output)
    assert status == 0, output
    assert "Epoch 1/2:" in output, "no bar"
    assert lines[0].split()[:4] == ["loss", "accuracy", "val", "loss"]
    assert [line.split()[:2] for line in lines[1:3]] == [["Epoch", "1/2"], ["Epoch", "2/2"]]
    assert lines[3].startswith("Best epoch ")
    assert lines[4:] == [""]
    assert max(len(part) for part in output.replace("\n", "\r").split("\r")) <= 80


def test_a_mistake_is_one_message_without_a_traceback(workspace):
    process = start(workspace, data={"batch_size": 5000})
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 1
    assert "ERROR: data.batch_size is 5000 and the train split has " in output
    assert "Traceback" not in output
    assert not [path for path in (workspace / "train").rglob("*") if path.is_file()]
