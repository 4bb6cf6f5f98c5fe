"""Lightning is imported without what no training uses; all of it still works, and trains the same."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.test_train_command import FOLDERS, TRAIN

pytestmark = pytest.mark.slow

LARGE = ("torchvision", "torchmetrics.functional", "scipy.signal", "torch._dynamo.eval_frame")

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
        timeout=180,
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


def test_versions_that_this_does_not_fit_are_imported_as_they_are(tmp_path: Path) -> None:
    """The first attempt to import `missing` fails."""
    code = f"""
import sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torchmetrics.collections" and self in sys.meta_path:
            sys.meta_path.remove(self)
            raise ImportError("another version")
import formwork.training
sys.meta_path.insert(0, Finder())
import formwork.training.fit
import torchmetrics
print(torchmetrics.Accuracy.__name__, *(name for name in {LARGE[:3]!r} if name in sys.modules))
"""
    assert python(code, tmp_path).split() == ["Accuracy", *LARGE[:3]]


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


def test_the_compiler_knows_what_was_made_before_it_was_there(tmp_path: Path) -> None:
    """Of an optimiser that was made and used before, it leaves alone what it always does."""
    code = """
import sys
import formwork.training.fit
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.compile import to_uncompiled
network = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(network.parameters(), 0.1)
network(torch.ones(1, 2)).sum().backward()
optimizer.step()
optimizer.zero_grad()
assert not [name for name in sys.modules if name.startswith("torch._dynamo.")]
import torch._dynamo.exc
assert torch._dynamo.disable.__module__ == "torch._dynamo.decorators"
assert sys.modules["torch._dynamo.exc"] is torch._dynamo.exc
graphs = []
def count(graph, inputs):
    graphs.append(graph)
    return graph.forward
@torch.compile(backend=count)
def step(x):
    y = network(x).sum()
    optimizer.zero_grad()
    return y * 2
step(torch.ones(1, 2))
print(len(graphs))
module = pl.LightningModule()
print(to_uncompiled(torch.compile(module, backend="eager")) is module)
"""
    assert python(code, tmp_path) == "2\nTrue\n"  # two graphs: around zero_grad, which breaks it, as ever
