"""A model on other images than its own: metrics, classes that are matched by name, and what is refused."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.errors import FormworkError
from formwork.evaluation.evaluate import evaluate
from formwork.evaluation.predictions import Predictions
from formwork.folders import Folders
from formwork.models.model_file import load_model
from formwork.params import Params
from formwork.tools.evaluate_on.evaluate_on import among_classes, among_labels, evaluate_on
from tests.training.conftest import make_params, project

__all__ = ["project"]  # fixtures

GROUPS = {"colours": {"resolution": 12, "groups": {"warm": ["red", "green"], "one": ["blue"], "wrong": ["pink"]}}}


@pytest.fixture(scope="module")
def trained(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with models/best.pt, hardly trained, so that it makes mistakes."""
    from formwork.training.fit import train

    root = tmp_path_factory.mktemp("trained") / "repo"
    shutil.copytree(project, root, symlinks=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        params = params_of(train={"lr": 1e-4}, trainer={"max_epochs": 1})
        train(params, Folders.of("colours"), Path("models/best.pt"), Path("results/train"), Path("results/speed"))
    return root


@pytest.fixture
def repo(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(trained)
    return trained


def params_of(**sections: dict) -> Params:
    return make_params(datasets=GROUPS, **sections)


def measure(*options: object, params: Params | None = None, **more: object) -> list[dict]:
    """What the JSON file says."""
    file = evaluate_on(params or params_of(), Path("models/best.pt"), Path("results/on"), *options, **more)
    return json.loads(file.read_text())["metrics"]


def images_of(repo: Path, name: str, classes: dict[str, str]) -> Path:
    """A dataset of 5 images of each class, by its name, copied from one of the model's."""
    for class_name, source in classes.items():
        folder = repo / "data/raw" / name / class_name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(5):
            shutil.copy(repo / f"data/raw/colours/{source}/{number}.png", folder)
    return repo / "data/raw" / name


def test_the_own_images_have_the_metrics_of_evaluate(repo: Path) -> None:
    evaluate(params_of(), Folders.of("colours"), Path("models/best.pt"), Path("results/evaluate"))
    theirs = json.loads(Path("results/evaluate/metrics.json").read_text())
    (mine,) = measure()
    assert 0 < mine["accuracy"] < 1
    for name in ("images", "accuracy", "macro_f1", "ece", "loss"):
        assert mine[name] == pytest.approx(theirs[f"val_{name}"], rel=1e-6)
    (again,) = measure("colours")  # all 90, the training images, too
    assert again["images"] == 90


def test_some_of_the_classes(repo: Path) -> None:
    images_of(repo, "some", {"blue": "blue", "red": "red"})
    everything, some = measure("some")
    assert (everything["among"], some["among"]) == ("all classes", "the 2 classes of some")
    assert everything["images"] == some["images"] == 10
    assert some["accuracy"] >= everything["accuracy"]
    assert some["loss"] < everything["loss"]
    with open("results/on/some.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["among"], row["class"]) for row in rows] == [
        ("all classes", "blue"),
        ("all classes", "red"),
        ("the 2 classes of some", "blue"),
        ("the 2 classes of some", "red"),
    ]
    by_path = measure(str(repo / "data/raw/some"))
    assert by_path == [everything, some]
    (one,) = measure("some", "one")
    assert one["images"] == 5


def test_a_group_of_classes(repo: Path) -> None:
    everything, warm = measure(group="warm")
    (whole,) = measure()
    assert everything["images"] < whole["images"]
    assert warm["classes"] == 2
    with pytest.raises(FormworkError, match=r"datasets\.colours\.groups does not define\. Did you mean 'warm'\?"):
        measure(group="worm")
    with pytest.raises(FormworkError, match="names classes that colours does not have"):
        measure(group="wrong")


def test_classes_that_the_model_does_not_know(repo: Path) -> None:
    images_of(repo, "more", {"blue": "blue", "red": "red", "greens": "green"})
    with pytest.raises(FormworkError, match=r"(?s)not trained on:\n  greens: Did you mean 'green'\?.*--known-only"):
        measure("more")
    everything, _ = measure("more", known_only=True)
    assert everything["images"] == 10
    images_of(repo, "others", {"x": "red", "y": "blue"})
    with pytest.raises(FormworkError, match="no images of classes that the model knows"):
        measure("others", known_only=True)


def test_splits_and_bad_images(repo: Path) -> None:
    for split in ("train", "val"):
        images_of(repo, f"shared/{split}", {"blue": "blue", "red": "red"})
    assert measure("shared")[0]["images"] == 20
    assert measure("shared", split="val")[0]["images"] == 10
    with pytest.raises(FormworkError, match="is in the split 'test'"):
        measure("shared", split="test")
    (repo / "data/raw/shared/val/red/bad.png").write_bytes(b"no image")
    with pytest.raises(FormworkError, match=r"(?s)1 file of 21 .*val/red/bad\.png: .*on_bad_image"):
        measure("shared")
    params = params_of(data={"name": "colours", "on_bad_image": "skip", "num_workers": 0})
    assert measure("shared", params=params)[0]["images"] == 20


def test_a_table_of_labels(repo: Path) -> None:
    folder = images_of(repo, "tabled", {"images": "red"})
    rows = [f"images/{number}.png,{'red' if number else 'blue'},{number // 3}\n" for number in range(5)]
    (folder / "labels.csv").write_text("path,label,group\n" + "".join(rows))
    everything, _ = measure("tabled")
    assert everything["images"] == 5
    (folder / "labels.csv").write_text("path,age\n" + "".join(f"images/{n}.png,{n}.5\n" for n in range(5)))
    with pytest.raises(FormworkError, match="is regression, and that of the model classes"):
        measure("tabled")


def test_names_that_are_no_dataset(repo: Path) -> None:
    with pytest.raises(FormworkError, match="Did you mean 'colours'"):
        measure("colors")
    with pytest.raises(FormworkError, match=r"was trained on colours, and data\.name is other"):
        measure(params=params_of(data={"name": "other"}))
    with pytest.raises(FormworkError, match=r"'test' is no split"):
        measure(split="test")


def test_answers_among_some_classes_and_labels() -> None:
    answers = np.array([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]], np.float32)
    found = among_classes(Predictions(np.array([2, 1]), answers, np.zeros(2)), np.array([1, 2]))
    assert found.targets.tolist() == [1, 0]
    np.testing.assert_allclose(found.answers, [[0.6, 0.4], [0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(found.losses, -np.log([0.4, 0.5]), atol=1e-6)
    labels = among_labels(Predictions(np.array([[1, 0, 1]], np.float32), answers[:1], np.zeros(1)), np.array([0, 1]))
    np.testing.assert_allclose(labels.losses, -np.log([0.5, 0.7]).mean(), atol=1e-6)


def test_the_model_is_left_as_it_was(repo: Path) -> None:
    before = load_model(Path("models/best.pt")).settings
    Image.new("RGB", (40, 30), "red").save(images_of(repo, "large", {"red": "red", "blue": "blue"}) / "red/large.png")
    assert measure("large")[0]["images"] == 11
    assert load_model(Path("models/best.pt")).settings == before
    assert not list((repo / "data/interim").glob("large*"))
