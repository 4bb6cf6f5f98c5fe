"""src/train.py as DVC calls it: real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from formwork.datasets.manifest import read_manifest
from tests.training.conftest import merged

TRAIN = Path(__file__).parents[2] / "src" / "train.py"
FOLDERS = [f"data/{kind}/colours" for kind in ("raw", "interim", "processed")]
COMMAND = [sys.executable, str(TRAIN), *FOLDERS, "best.pt", "train", "speed"]


@pytest.fixture
def workspace(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project, tmp_path / "project", symlinks=True)
    return tmp_path / "project"


def start(workspace: Path, **sections: dict) -> subprocess.Popen[str]:
    (workspace / "params.yaml").write_text(yaml.safe_dump(merged(**sections)))
    return subprocess.Popen(
        COMMAND, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_two_processes_count_every_validation_image_once(workspace):
    process = start(
        workspace,
        trainer={"devices": 2, "strategy": "ddp", "accelerator": "cpu", "max_epochs": 1},
        ffcv={"distributed": True},
    )
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    metrics = json.loads((workspace / "train/metrics.json").read_text())
    images = len(read_manifest(workspace / "data/interim/colours/val.csv"))
    assert images % 2 == 1, "the case that padding with duplicates would get wrong"
    right = metrics["val"]["accuracy"] * images
    assert right == pytest.approx(round(right), abs=1e-4)
    assert (workspace / "best.pt").is_file()


def test_an_interrupted_run_leaves_no_model(workspace):
    process = start(workspace, trainer={"max_epochs": 10_000})
    for line in process.stdout:
        if "Epoch 1" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode != 0, output
    assert not (workspace / "best.pt").exists()


def test_a_mistake_is_one_message_without_a_traceback(workspace):
    process = start(workspace, data={"batch_size": 5000})
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "ERROR: data.batch_size is 5000 and the train split has " in output
    assert "Traceback" not in output
    assert not (workspace / "train").exists()
