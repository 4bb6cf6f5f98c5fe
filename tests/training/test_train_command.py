"""src/train.py as DVC calls it: real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from formwork.images.manifest import read_manifest
from formwork.yaml import dump_yaml
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
    output, _ = process.communicate(timeout=180)
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
    process.communicate(timeout=60)  # to the end of both: they share the pipe
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
    process = start(workspace, **sections)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message in output
    assert "Traceback" not in output


def test_an_interrupted_run_leaves_no_model(workspace):
    process = start(workspace, trainer={"max_epochs": 10_000})
    for line in process.stdout:
        if "Epoch 1" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert not (workspace / "best.pt").exists()


def test_a_mistake_is_one_message_without_a_traceback(workspace):
    process = start(workspace, data={"batch_size": 5000})
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ERROR: data.batch_size is 5000 and the train split has " in output
    assert "Traceback" not in output
    assert not [path for path in (workspace / "train").rglob("*") if path.is_file()]
