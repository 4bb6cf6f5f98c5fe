"""`make continue`: a new experiment that starts from the model of another."""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from formwork.yaml import read_yaml
from tests.workspace import Workspace


def go_on(repo: Workspace, *arguments: str, status: int = 0) -> str:
    return repo.run(sys.executable, "src/continue.py", *arguments, status=status).output


def test_more_epochs_are_an_experiment_that_starts_from_the_best_weights(repo: Workspace) -> None:
    params = repo / "params.yaml"
    before = params.read_text()
    assert "ERROR: There is no revision 'nothing'" in go_on(repo, "nothing", status=1)
    printed = go_on(repo, "HEAD", "--epochs", "0", status=1)
    assert "params.yaml:\n  trainer.max_epochs: input should be greater than or equal to 1" in printed
    assert "unknown. Did you mean 'lr'?" in go_on(repo, "HEAD", "-S", "+train.lrr=1", status=1)
    assert params.read_text() == before
    assert repo.changes() == set()

    best = torch.load(repo / "models/best.pt", weights_only=True)["weights"]
    printed = go_on(repo, "HEAD", "--epochs", "2", "--name", "more", "-S", "seed=1")
    assert "train.lr: 0.0003\n" in printed
    content = read_yaml(params)
    assert (content["train"]["lr"], content["trainer"]["max_epochs"], content["seed"]) == (0.0003, 2, 1)
    (pointer,) = (path for path in repo.experiment_files("more") if path.startswith("models/weights/HEAD-"))
    assert pointer.endswith(".pt.dvc")
    assert content["model"]["weights"] == Path(pointer).stem
    initial = load_file(repo / "models/initial.safetensors")
    assert {name: tuple(value.shape) for name, value in initial.items()} == {n: tuple(v.shape) for n, v in best.items()}
    assert all(torch.equal(initial[name], value) for name, value in best.items())
    assert "Epoch 2/2" in printed
