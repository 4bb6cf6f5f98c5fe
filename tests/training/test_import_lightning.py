"""Lightning is imported without what no training uses; all of it still works, and trains the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import TIMEOUT
from tests.training.test_train_command import FOLDERS, TRAIN

pytestmark = pytest.mark.slow

LARGE = ("torchvision", "torchmetrics.functional", "scipy.signal")

TRAIN_AND_TELL = f"""
import runpy, sys
sys.argv = {[str(TRAIN), *FOLDERS, "best.pt", "train", "speed"]!r}
sys.path.insert(0, {str(TRAIN.parent)!r})
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print("Imported:", *(name for name in {LARGE!r} if name in sys.modules))
"""


def python(code: str, cwd: Path, **environment: str) -> str:
    """What the code prints."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(TRAIN.parent)} | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quick(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that has trained."""
    workspace = tmp_path_factory.mktemp("quick") / "project"
    shutil.copytree(project, workspace, symlinks=True)
    printed = python(TRAIN_AND_TELL, workspace)
    assert printed.splitlines()[-1] == "Imported:"
    return workspace


def test_plain_lightning_trains_the_same_model(quick: Path, project: Path, tmp_path: Path) -> None:
    workspace = shutil.copytree(project, tmp_path / "project", symlinks=True)
    printed = python(TRAIN_AND_TELL, workspace, FORMWORK_LIGHTNING="plain")
    assert printed.splitlines()[-1].split() == ["Imported:", *LARGE]
    assert (workspace / "best.pt").read_bytes() == (quick / "best.pt").read_bytes()
    assert (workspace / "train/metrics.json").read_bytes() == (quick / "train/metrics.json").read_bytes()


@pytest.mark.parametrize("missing", ["torchmetrics.collections", "pytorch_lightning.trainer"])
def test_versions_that_this_does_not_fit_are_imported_as_they_are(tmp_path: Path, missing: str) -> None:
    """The first attempt to import `missing` fails."""
    code = f"""
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r} and self in sys.meta_path:
            sys.meta_path.remove(self)
            raise ImportError("another version")
sys.meta_path.insert(0, Finder())
import formwork.training.fit
import torchmetrics
print(torchmetrics.Accuracy.__name__, *(name for name in {LARGE!r} if name in sys.modules))
"""
    assert python(code, tmp_path).split() == ["Accuracy", *LARGE]


def test_what_was_left_out_is_there_for_whoever_uses_it(tmp_path: Path) -> None:
    code = f"""
import sys
import formwork.training.fit
assert not [name for name in {LARGE!r} if name in sys.modules]
import torch
from torchmetrics import Accuracy, Metric
assert Accuracy(task="binary")(torch.ones(1), torch.ones(1)) == 1
from torchmetrics.aggregation import MeanMetric
assert issubclass(MeanMetric, Metric)
try:
    sys.modules["torchmetrics"].no_such_name
except AttributeError as error:
    print(error)
"""
    assert "no attribute 'no_such_name'" in python(code, tmp_path)
