"""The ready recipes: each is taken by params.yaml, and its first steps train."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from formwork.errors import FormworkError
from formwork.params import load_params
from formwork.tools.recipe import RECIPES, apply_recipe, read_recipe, show_recipes
from tests.workspace import ROOT

NAMES = sorted(path.stem for path in (ROOT / RECIPES).glob("*.yaml"))
# What the images and the machine of these tests need otherwise: two steps, small, on the CPU, without a download.
BATCH = 8
SMALL: dict[str, Any] = {
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 2,
    "trainer.precision": "32-true",
    "trainer.devices": 1,
    "trainer.strategy": "auto",
    "trainer.accelerator": "cpu",
    "ffcv.distributed": False,
    "ffcv.resolution_schedule": [[1, 32]],
    "data.batch_size": BATCH,
    "model.weights": None,
    "train.warmup_epochs": 0.5,
}
PLACES = {"data.name": "colours", "data.fetch": [], "data.num_workers": 1}


def nested(values: dict[str, Any]) -> dict[str, dict]:
    sections: dict[str, dict] = {}
    for key, value in values.items():
        *steps, name = key.split(".")
        section = sections
        for step in steps:
            section = section.setdefault(step, {})
        section[name] = value
    return sections


@pytest.mark.parametrize("name", NAMES)
def test_the_first_steps_of_a_recipe_train(name: str, run: Callable[..., Path]) -> None:
    values = read_recipe(name, ROOT / RECIPES)
    values = {key: value for key, value in values.items() if not key.startswith("datasets.")}
    smaller = {key: value for key, value in SMALL.items() if key in values or key.startswith("trainer.")}
    smaller["train.lr"] = values["train.lr"] * BATCH / values["data.batch_size"]
    sections = nested(values | smaller | PLACES) | {"datasets": {"colours": {"resolution": 32}}}
    out = run("out", **sections)
    assert 0 < json.loads((out / "train/metrics.json").read_text())["train"]["loss"] < 20
    assert (out / "best.pt").exists()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / RECIPES, tmp_path / RECIPES)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_changes_its_keys_in_params_yaml_and_no_comment(name: str, repository: Path) -> None:
    before = load_params().model_dump()
    comments = {line.partition("#")[2] for line in Path("params.yaml").read_text().splitlines() if "#" in line}
    apply_recipe(name)
    after = Path("params.yaml").read_text()
    assert comments <= {line.partition("#")[2] for line in after.splitlines()}
    values = read_recipe(name)
    assert load_params().model_dump() == load_params(overrides=values).model_dump() != before


def test_recipes_are_listed_and_mistakes_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_recipes()
    assert "cifar10-resnet18     CIFAR-10 to 94 %" in capsys.readouterr().out
    with pytest.raises(FormworkError, match=r"no recipe 'cifar10-resnet'\. Did you mean 'cifar10-resnet18'\?"):
        apply_recipe("cifar10-resnet")
    Path("mine.yaml").write_text("train.lrr: 1\n")
    before = Path("params.yaml").read_text()
    with pytest.raises(FormworkError, match=r"unknown\. Did you mean 'lr'\?"):
        apply_recipe("mine.yaml")
    assert Path("params.yaml").read_text() == before
    Path("mine.yaml").write_text("train.lr: 0.5\n")
    apply_recipe("mine.yaml")
    assert "+  lr: 0.5" in capsys.readouterr().out
