"""A sweep to its last trial, through a failure, a pruned trial and a kill, with real git and DVC."""

import csv
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from formwork.folders import Folders
from formwork.params import load_params
from formwork.tools.experiments.pipeline import Pipeline
from formwork.tools.sweep.space import read_sweep
from formwork.tools.sweep.sweep import open_study
from formwork.yaml import read_yaml
from tests.processes import left, wait_for
from tests.workspace import Workspace, write_file

SWEEP = """
study: lr
sampler: grid
params:
  train.lr: [0.1, 0.11, 0.12, 0.13, 0.14, 0.5, 0.6, 0.7]
"""

# Instead of src/train.py. With a learning rate of 0.5 it fails; with 0.6 it is bad, and nobody would wait for its end;
# with 0.7 it waits after its second epoch until it is interrupted, and goes on from there when it is run again.
TRAIN = """
import os, sys, time
from pathlib import Path
from formwork.yaml import read_yaml

params = read_yaml(Path("params.yaml"))
lr, checkpoint = params["train"]["lr"], Path("models/.resume/one.ckpt")
if lr == 0.5:
    sys.exit("ERROR: The training loss is nan at epoch 1, step 2.")
curve = Path("results/train/plots/metrics/val/accuracy.tsv")
curve.parent.mkdir(parents=True)
curve.write_text("step\\taccuracy\\n")
for epoch in range(1, params["trainer"]["max_epochs"] + 1):
    with curve.open("a") as file:
        print(epoch, 0.01 if lr == 0.6 else 0.9, sep="\\t", file=file)
    if epoch == 3 and lr == 0.6:
        time.sleep(600)
    if epoch == 2 and lr == 0.7 and not checkpoint.exists():
        try:
            print("pid", os.getpid(), flush=True)
            time.sleep(600)
        except KeyboardInterrupt:
            time.sleep(1)  # another sweep waits for it
            checkpoint.write_text("epoch 2")
            sys.exit(130)
Path("models/best.pt").write_text(f"{lr} {checkpoint.exists()}")
"""
EVALUATE = """
import json
from pathlib import Path

lr, goes_on = Path("models/best.pt").read_text().split()
Path("results/evaluate").mkdir(parents=True, exist_ok=True)
Path("results/evaluate/metrics.json").write_text(json.dumps({"val_accuracy": float(lr), "goes_on": goes_on}))
"""
OUTS = """
from formwork.yaml import read_yaml

stage = read_yaml(Path("dvc.yaml"))["stages"]["{stage}"]
for entry in (*stage["outs"], *stage["metrics"], *stage.get("plots", ())):
    path = Path(entry if isinstance(entry, str) else next(iter(entry)))
    if not path.exists():
        (path.parent if path.suffix else path).mkdir(parents=True, exist_ok=True)
        if path.suffix:
            path.write_text("{{}}")
"""


@pytest.fixture
def quick(repo: Workspace) -> Workspace:
    """A repository in which training takes no time, with a sweep of which five trials are finished."""
    write_file(
        repo / "src/try.py", f"import sys; open(sys.argv[1], 'w').write({(repo / 'results/try.txt').read_text()!r})"
    )
    write_file(repo / "src/train.py", TRAIN + OUTS.format(stage="train"))
    write_file(repo / "src/evaluate.py", EVALUATE + OUTS.format(stage="evaluate"))
    write_file(repo / "sweep.yaml", SWEEP)
    repo.set_params(trainer__max_epochs=4)
    repo.dvc("repro")
    repo.commit("Train quickly")
    return repo


def test_a_sweep_goes_on_to_its_end_through_failures_and_kills(
    quick: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(quick.path)
    for name, value in quick.env.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"dvc\.")  # what it uses of others
        finish_five()
    command, log = [sys.executable, "src/sweep.py"], quick / ".dvc/tmp/sweep/lr-7.log"
    with (tmp_path / "printed").open("w") as file:
        process = subprocess.Popen(command, cwd=quick.path, env=quick.env, stdout=file, stderr=file)
        assert wait_for(lambda: log.exists() and re.search(r"^pid \d+$", log.read_text(), re.MULTILINE)), (
            tmp_path / "printed"
        ).read_text()
        process.kill()
        process.wait()
    printed = (tmp_path / "printed").read_text()
    assert "lr-5: train.lr 0.5\n  failed: The training loss is nan at epoch 1, step 2.\n" in printed
    assert "lr-6: train.lr 0.6\n  pruned\n" in printed
    training = int(log.read_text().split("pid ")[1].split()[0])

    printed = quick.run(*command).output
    assert left([training], 0) == []
    assert "lr-7 goes on: train.lr 0.7\n  val_accuracy 0.7000\n" in printed
    assert "Best of 8 trials: lr-7, val_accuracy 0.7000\n" in printed
    with (quick / "results/sweep/lr/trials.csv").open() as rows:
        trials = list(csv.DictReader(rows))
    assert [trial["state"] for trial in trials] == ["finished"] * 5 + ["failed", "pruned", "finished"]
    assert trials[6]["epochs"] == "2"  # the first at which there is pruning, however many it had
    assert "nan" in (quick / "results/sweep/lr/lr-5.log").read_text()

    assert quick.changes() == {"results/sweep/lr/sweep.md", "results/sweep/lr/trials.csv"}
    assert quick.outdated_stages() == set()
    assert not list((quick / ".dvc/tmp").glob("sweep*/"))
    assert quick.git("for-each-ref --format='%(refname:lstrip=-1)' refs/exps").split() == ["lr-7"]
    assert "All 8 trials of the study lr have run" in quick.run(*command).output

    quick.dvc("exp apply lr-7")
    assert read_yaml(quick / "params.yaml")["train"]["lr"] == 0.7
    assert '"goes_on": "True"' in (quick / "results/evaluate/metrics.json").read_text()


def finish_five() -> None:
    params = load_params()
    sweep = read_sweep(Path("sweep.yaml"), params)
    study = open_study(sweep, Pipeline(Path()), Folders.of(params.data.name), Path("results/sweep"))
    for _ in range(5):
        trial = study.next()
        assert not trial.prunes({1: 0.9, 2: 0.9, 3: 0.9, 4: 0.9}, epochs=4)
        trial.finish(trial.values["train.lr"])
