"""Runs with made-up figures, and a repository whose training takes no time."""

import io
import os
import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest

from formwork.params import Params, load_params
from formwork.system import machine
from formwork.tools.compare.cases import Case
from formwork.tools.compare.compare import compare
from formwork.tools.compare.runs import Run
from formwork.tools.compare.summary import Summary
from tests.conftest import Shared
from tests.workspace import Workspace

# Instead of src/train.py: the same files, at once. It notes each of its runs in $TRAININGS; the loader and the machine
# that it has are what the environment says.
TRAIN = """
import json, os, sys, time
from pathlib import Path
from formwork.system import machine_id, software
from formwork.yaml import read_yaml

model, results, speed = map(Path, sys.argv[4:7])
params = read_yaml(Path("params.yaml"))
asked = "ffcv" if params["data"]["use_ffcv"] else "pytorch"
with open(os.environ["TRAININGS"], "a") as file:
    print(asked, params["seed"], *{params["model"]["name"]} - {"small_cnn"}, file=file)
if "FAIL" in os.environ:
    sys.exit(os.environ["FAIL"])
seconds = 1.0 + time.time() % 1
figures = {
    "loader": os.environ.get("LOADER", asked) if asked == "ffcv" else asked,
    "images_per_second": 100 / seconds,
    "seconds": seconds,
    "waiting_seconds": seconds / 2,
    "waiting_share": 0.5,
    "first_batch_seconds": 0.1,
    "peak_memory_mb": 500.0,
    "machine": os.environ["MACHINE"],
    "machine_id": os.environ.get("MACHINE_ID") or machine_id(),
    "software": software(),
}
for path, content in {
    model: f"{asked} {params['seed']} {params['model']}",
    results / "metrics.json": json.dumps({"loader": asked}),
    results / "plots/curve.tsv": "step",
    speed / "metrics.json": json.dumps(figures),
    speed / "plots/curve.tsv": str(seconds),
}.items():
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
if "WAIT" in os.environ:
    Path(os.environ["WAIT"]).touch()
    time.sleep(600)  # the test ends it
"""
TRY = """
import sys
from pathlib import Path

tried = Path(sys.argv[1])
tried.parent.mkdir(exist_ok=True)
tried.write_text({text!r})
"""
EVALUATE = """
import json, sys
from pathlib import Path
from formwork.yaml import read_yaml

seed = read_yaml(Path("params.yaml"))["seed"]
results = Path(sys.argv[5])
results.mkdir(parents=True, exist_ok=True)
(results / "metrics.json").write_text(json.dumps({"val_accuracy": 0.5 + seed / 100}))
tables = ("confusion", "class_accuracy", "label_scores", "scatter", "timesteps")
for name in (*(f"{table}.csv" for table in tables), "worst_mistakes.png"):
    (results / name).write_text("")
for name in ("tables", "charts"):
    (results / name).mkdir(exist_ok=True)
(results / "predictions.parquet").write_text("")
"""


def make_case(name: str, *settings: str, **params: object) -> Case:
    """A case of 10 epochs; params by their sections."""
    content = {"data": {"name": "shapes"}, "trainer": {"max_epochs": 10}} | params
    return Case(name, settings, content, Params.model_validate(content))


def loader_case(use_ffcv: bool, seed: int = 0) -> Case:
    name, setting = ("ffcv", "data.use_ffcv=true") if use_ffcv else ("pytorch", "data.use_ffcv=false")
    return make_case(name, setting, data={"name": "shapes", "use_ffcv": use_ffcv}).with_seed(seed)


def make_run(use_ffcv: bool = True, seconds: float = 2.0, seed: int = 0, **figures: object) -> Run:
    """A run that waited for half of its time, of 100 images an epoch."""
    run = Run(
        case=loader_case(use_ffcv, seed),
        loader="ffcv" if use_ffcv else "pytorch",
        score=0.9,
        test_score=0.8,
        metric="accuracy",
        seconds=seconds,
        images_per_second=100 / seconds,
        waiting_seconds=seconds / 2,
        waiting_share=0.5,
        first_batch_seconds=0.5,
        peak_memory_mb=600.0,
        machine="CPU, cores 2",
        machine_id="12345678",
        identity=f"{seconds}",
        source="the workspace",
    )
    return replace(run, **figures)


def make_summary(*runs: Run, **changes: object) -> Summary:
    """Of these runs with the two loaders, and a conversion that took 5 seconds."""
    cases = [loader_case(use_ffcv) for use_ffcv in (True, False)]
    summary = Summary("shapes", cases, "CPU, cores 2", runs, {"train": 4.0, "val": 1.0})
    return replace(summary, **changes)


@pytest.fixture(scope="session")
def quick_base(base: Workspace, shared: Shared) -> Workspace:
    """`base` with TRY, TRAIN and EVALUATE in place of what takes time, run with FFCV and committed.
    `quick` is a copy."""
    env = base.env | {"MACHINE": machine(), "TRAININGS": "/dev/null"}

    def make(folder: Path) -> None:
        quick = Workspace(base.copy(folder).path, env)
        (quick / "src/try.py").write_text(TRY.format(text=(quick / "results/try.txt").read_text()))
        (quick / "src/train.py").write_text(TRAIN)
        (quick / "src/evaluate.py").write_text(EVALUATE)
        quick.dvc("repro")
        quick.commit("Train quickly")

    return Workspace(shared("quick", make) / "repo", env)


class Quick(Workspace):
    """A repository in which training takes no time."""

    def compare(self, *settings: str, repeat: int = 1, seeds: int = 1, dry_run: bool = False, **env: str) -> str:
        """What it prints. It is called in this process, which is made to look like one that was started there."""
        printed = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"dvc\.")  # what it uses of others
            patch.chdir(self.path)
            for name in os.environ.keys() - self.env.keys():
                patch.delenv(name)
            for name, value in (self.env | env).items():
                patch.setenv(name, value)
            compare(load_params(), settings, repeat, seeds, Path("results/compare"), "command", dry_run)
        return printed.getvalue()

    @property
    def trainings(self) -> list[str]:
        """Those that `compare` has run: loader and seed."""
        path = Path(self.env["TRAININGS"])
        return path.read_text().splitlines() if path.exists() else []

    @property
    def experiments(self) -> set[str]:
        """What all are called."""
        refs = self.git("for-each-ref --format='%(refname)' refs/exps").splitlines()
        return {ref.rsplit("/", 1)[1] for ref in refs}


@pytest.fixture
def quick(quick_base: Workspace, tmp_path: Path) -> Quick:
    quick = quick_base.copy(tmp_path / "quick")
    return Quick(quick.path, quick.env | {"TRAININGS": str(tmp_path / "trainings")})
