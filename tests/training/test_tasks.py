"""Labels and numbers are learned as classes are, with weights, by either loader, and by one process or two."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score, mean_absolute_error, r2_score

from formwork import load_model
from formwork.errors import FormworkError, ParamsError
from formwork.evaluation.evaluate import evaluate
from formwork.folders import Folders
from formwork.training.fit import train
from formwork.yaml import dump_yaml
from tests.processes import TIMEOUT
from tests.training.conftest import folders_of, make_params, merged
from tests.training.tasks import NAMES, TARGETS, retarget
from tests.training.test_fit import curve

SRC = Path(__file__).parents[2] / "src"
SCORES = {"multilabel": ("map", "f1"), "regression": ("mae", "r2")}


@pytest.fixture(scope="module")
def retargeted(project, tmp_path_factory) -> dict[str, Folders]:
    return {task: retarget(folders_of(project), tmp_path_factory.mktemp(task), task, weights=True) for task in SCORES}


@pytest.fixture
def fit(retargeted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def go(task: str, name: str = "out", epochs: int = 1, **sections: dict) -> Path:
        params = make_params(trainer={"max_epochs": epochs, "accelerator": "cpu"}, **sections)
        out = tmp_path / name
        train(params, retargeted[task], out / "best.pt", out / "train", out / "speed")
        evaluate(params, retargeted[task], out / "best.pt", out / "evaluate")
        return out

    return go


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.parametrize("task", SCORES)
def test_it_learns_and_says_how_well(fit, retargeted, task):
    out = fit(task, epochs=5, train={"class_weights": "balanced" if task == "multilabel" else None})
    metrics = read(out / "evaluate/metrics.json")
    table = pq.read_table(out / "evaluate/predictions.parquet").to_pylist()
    assert {row["split"] for row in table} == {"val", "test"}
    for split in ("val", "test"):
        rows = [row for row in table if row["split"] == split]
        assert metrics[f"{split}_images"] == len(rows)
        assert metrics[f"{split}_loss"] == pytest.approx(np.mean([row["loss"] for row in rows]))
        if task == "regression":
            target, predicted = (np.array([row[name] for row in rows]) for name in ("target", "predicted"))
            mae = mean_absolute_error(target, predicted, multioutput="raw_values")
            assert list(metrics[f"{split}_mae_of"].values()) == pytest.approx(list(mae), rel=1e-4)
            std = read(retargeted[task].interim / "dataset.json")["target_std"]
            assert metrics[f"{split}_mae"] == pytest.approx(np.mean(mae / std), rel=1e-4)
            assert metrics[f"{split}_r2"] == pytest.approx(r2_score(target, predicted), abs=1e-4)
            assert metrics[f"{split}_mae_of"].keys() == set(TARGETS)
            assert metrics[f"{split}_r2"] > 0.3
        else:
            truth = np.array([[name in row["target"] for name in NAMES[:2]] for row in rows])
            probabilities = np.array([row["probabilities"] for row in rows])[:, :2]
            assert metrics[f"{split}_map"] == pytest.approx(average_precision_score(truth, probabilities))
            assert [[name in row["predicted"] for name in NAMES[:2]] for row in rows] == (probabilities > 0.5).tolist()
            assert metrics[f"{split}_map"] > 0.8
            if metrics[f"{split}_f1"] > 0.99:  # else the label that no image has may count
                assert f1_score(truth, probabilities > 0.5, average="macro") == pytest.approx(1)
    score = SCORES[task][0]
    values = [float(value) for _, value in curve(out / "train", f"val/{score}")[1:]]
    best = torch.load(out / "best.pt", weights_only=True)
    assert best["val"][score] == pytest.approx((max if score == "map" else min)(values))
    assert len(curve(out / "train", "val/accuracy")) == 1  # a header: dvc.yaml names the curves of all tasks
    with Image.open(out / "evaluate/worst_mistakes.png") as picture:
        assert picture.width > 300
    drawn = {"multilabel": "label_scores.csv", "regression": "scatter.csv"}[task]
    for name in ("confusion.csv", "class_accuracy.csv", "label_scores.csv", "scatter.csv"):
        assert (len((out / "evaluate" / name).read_text().splitlines()) > 1) == (name == drawn)


@pytest.mark.parametrize(
    ("task", "model"),
    [("multilabel", {"name": "small_cnn"}), ("regression", {"name": "rcnn", "pattern": "10", "loss_steps": [1]})],
)
def test_either_loader_trains_the_same_model(fit, task, model):
    changes = {
        "model": model,
        "augment": {"train": [{"Resize": {}}, {"Mixup": {"alpha": 0.5}}]},
        "evaluate": {"corruptions": [{"noise": [5]}, {"jpeg": [20]}], "tta": "flip", "bootstrap": 20},
    }
    ffcv, pytorch = fit(task, "ffcv", **changes), fit(task, "pytorch", data={"use_ffcv": False}, **changes)
    assert (ffcv / "best.pt").read_bytes() == (pytorch / "best.pt").read_bytes()
    names = {path.relative_to(ffcv) for path in (ffcv / "evaluate").rglob("*") if path.is_file()}
    assert {Path("evaluate") / name for name in ("predictions.parquet", "tables/robustness.csv")} < names
    for name in names - {Path("evaluate/metrics.json")}:
        assert (ffcv / name).read_bytes() == (pytorch / name).read_bytes(), name
    found = [read(path / "evaluate/metrics.json") for path in (ffcv, pytorch)]
    assert found[0] == found[1] | {"loader": "ffcv"}


@pytest.mark.slow
def test_two_processes_measure_what_evaluate_does(retargeted, tmp_path, monkeypatch):
    """The second has fewer images of the last batch, and the sums and outputs of both are put together."""
    monkeypatch.chdir(tmp_path)
    folders = retargeted["multilabel"]
    sections = {
        "trainer": {"devices": 2, "strategy": "ddp", "accelerator": "cpu", "max_epochs": 1},
        "ffcv": {"distributed": True, "order": "class_balanced"},
    }
    (tmp_path / "params.yaml").write_text(dump_yaml(merged(**sections)))
    command = [sys.executable, str(SRC / "train.py"), folders.raw, folders.interim, folders.processed]
    subprocess.run([*command, "best.pt", "train", "speed"], check=True, timeout=TIMEOUT, env=os.environ)
    evaluate(make_params(), folders, Path("best.pt"), Path("evaluate"))
    during, after = read(Path("train/metrics.json"))["val"], read(Path("evaluate/metrics.json"))
    for name in ("loss", *SCORES["multilabel"]):
        assert during[name] == pytest.approx(after[f"val_{name}"], rel=1e-4), name


def test_a_trained_model_predicts_labels_and_numbers(fit, retargeted):
    out = fit("multilabel", "labels")
    rows = [row for row in pq.read_table(out / "evaluate/predictions.parquet").to_pylist() if row["split"] == "val"]
    paths = [retargeted["multilabel"].raw / row["path"] for row in rows]
    for row, found in zip(rows, load_model(out / "best.pt").predict(paths), strict=True):
        assert list(found.labels) == row["predicted"]
        assert np.allclose(found.probabilities, row["probabilities"], atol=1e-5)
    out = fit("regression", "numbers")
    rows = [row for row in pq.read_table(out / "evaluate/predictions.parquet").to_pylist() if row["split"] == "val"]
    for row, found in zip(rows, load_model(out / "best.pt").predict(paths), strict=True):
        assert tuple(found.targets) == TARGETS
        assert np.allclose(list(found.targets.values()), row["predicted"], rtol=1e-4)


def test_what_needs_classes_is_refused_for_numbers(retargeted, tmp_path):
    for sections, key in [
        ({"train": {"class_weights": "balanced"}}, "train.class_weights: balanced"),
        ({"train": {"label_smoothing": 0.1}}, "train.label_smoothing above 0"),
        ({"ffcv": {"order": "class_balanced"}}, "ffcv.order: class_balanced"),
    ]:
        with pytest.raises(ParamsError, match=f"{key} needs classes, and colours has numbers. Change it."):
            train(make_params(**sections), retargeted["regression"], tmp_path / "a", tmp_path / "b", tmp_path / "c")
        with pytest.raises(ValueError, match=f"{key} needs classes"):  # before all, where params.yaml says it
            make_params(datasets={"colours": {"task": "regression"}}, **sections)


def test_a_model_of_another_task_is_refused(fit, retargeted, tmp_path):
    out = fit("multilabel")
    with pytest.raises(FormworkError, match="was trained to predict something else than the targets of 'colours'"):
        evaluate(make_params(), retargeted["regression"], out / "best.pt", tmp_path / "evaluate")
    assert not math.isnan(read(out / "train/metrics.json")["train"]["f1"])
