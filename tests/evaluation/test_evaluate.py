"""Metrics, tables and the picture of mistakes say what the model really answered."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from formwork.drawing.image_grid import image_grid, to_pixels
from formwork.errors import FormworkError
from formwork.evaluation.evaluate import evaluate
from formwork.evaluation.predictions import device, predict
from formwork.interim.settings import Settings
from formwork.loading.project import ProjectData
from formwork.models.build import build_model
from formwork.models.model_file import TrainedModel, save_model
from formwork.models.presentation import Presented
from formwork.params import Model
from tests.training.conftest import folders, folders_of, make_params, project, run

__all__ = ["folders", "project", "run"]  # fixtures


def table(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_results_agree_with_each_other(run, folders, tmp_path):
    params = make_params(trainer={"max_epochs": 1}, train={"lr": 1e-4})  # hardly trained: it makes mistakes
    model = run("out", trainer={"max_epochs": 1}, train={"lr": 1e-4}) / "best.pt"
    evaluate(params, folders, model, tmp_path / "results")
    metrics = json.loads((tmp_path / "results/metrics.json").read_text())
    confusion = table(tmp_path / "results/confusion.csv")
    manifest = ProjectData(params, folders).splits["val"].manifest
    assert [row["actual"] for row in confusion] == [row.class_name for row in manifest.rows]
    right = [row["actual"] == row["predicted"] for row in confusion]
    assert 0 < sum(right) < len(right)
    assert metrics["val_accuracy"] == pytest.approx(np.mean(right))
    assert metrics["val_images"] == len(right)
    assert not [name for name in metrics if name.startswith("test")]
    assert metrics["loader"] == "ffcv"
    by_class = {row["class"]: row for row in table(tmp_path / "results/class_accuracy.csv")}
    for name, row in by_class.items():
        mine = [r for r, c in zip(right, confusion, strict=True) if c["actual"] == name]
        assert int(row["images"]) == len(mine)
        assert float(row["accuracy"]) == pytest.approx(np.mean(mine), abs=1e-6)
    assert metrics["val_worst_class"] == min(by_class, key=lambda name: float(by_class[name]["accuracy"]))
    for name in ("worst_mistakes.png", "charts/reliability.png"):
        with Image.open(tmp_path / "results" / name) as picture:
            assert picture.width > 300
    low, high = metrics["intervals"]["val_accuracy"]
    assert 0 < low < metrics["val_accuracy"] < high < 1
    assert metrics["intervals"].keys() == {
        f"val_{name}" for name in ("accuracy", "mean_class_accuracy", "macro_f1", "ece", "loss")
    }
    for row in table(tmp_path / "results/tables/classes.csv"):
        assert row["split"] == "val"
        assert float(row["accuracy"]) == pytest.approx(float(by_class[row["class"]]["accuracy"]), abs=1e-5)
        assert float(row["accuracy_low"]) <= float(row["accuracy"]) <= float(row["accuracy_high"])
    bins = table(tmp_path / "results/tables/reliability.csv")
    assert sum(int(row["predictions"]) for row in bins) == len(right)

    evaluate(params, folders, model, tmp_path / "again")
    files = [path for path in (tmp_path / "results").rglob("*") if path.is_file()]
    for path in files:
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "results")).read_bytes(), path


def test_a_perfect_model_has_a_picture_too(run, folders, tmp_path):
    model = run("out", trainer={"max_epochs": 6}) / "best.pt"
    evaluate(make_params(), folders, model, tmp_path / "results")
    assert json.loads((tmp_path / "results/metrics.json").read_text())["val_accuracy"] == 1.0
    Image.open(tmp_path / "results/worst_mistakes.png").verify()


def test_nothing_of_the_training_split_is_needed(run, folders, tmp_path):
    model = run("out", trainer={"max_epochs": 1}) / "best.pt"
    alone = type(folders)(folders.raw, tmp_path / "interim", folders.processed)
    alone.interim.mkdir()
    for name in ("val.csv", "dataset.json"):
        (alone.interim / name).write_bytes((folders.interim / name).read_bytes())
    evaluate(make_params(), alone, model, tmp_path / "results")
    assert (tmp_path / "results/metrics.json").is_file()


def test_a_model_of_other_classes_is_refused(folders, tmp_path):
    weights = build_model(Model(name="small_cnn"), 3, 12).state_dict()
    save_model(tmp_path / "best.pt", Model(), SETTINGS, weights, epoch=1, val={"accuracy": 0.5})
    with pytest.raises(FormworkError, match="was trained on other classes than 'colours' has"):
        evaluate(make_params(), folders, tmp_path / "best.pt", tmp_path / "results")


SETTINGS = Settings(
    name="other",
    class_names=["a", "b", "c"],
    resolution=12,
    mean=[0.5] * 3,
    std=[0.5] * 3,
    augment_train=[],
    augment_val=[],
)


def test_with_timesteps_the_last_answer_counts():
    class Network(torch.nn.Module):
        recurrent = True

        def forward(self, images):
            return torch.stack([images[:, 0, :2, 0, 0], images[:, 1, 1:, 0, 0]], dim=1)

    images = torch.zeros(3, 3, 1, 1)
    images[:, 0] = images[:, 2] = 5.0  # class 0 in the first step, class 1 in the last
    batches = [(images.unsqueeze(1).expand(-1, 2, -1, -1, -1), torch.tensor([[1, 1], [1, 1], [0, 0]]))]
    params = Model(name="rcnn", timesteps=2)
    trained = TrainedModel(Presented(Network(), params), SETTINGS, params)
    predictions = predict(trained, batches, torch.device("cpu"), "val")
    assert predictions.likeliest.tolist() == [1, 1, 1]
    assert predictions.targets.tolist() == [1, 1, 0]
    assert predictions.losses[2] > predictions.losses[0]


def test_pixels_survive_normalisation(project):
    data = ProjectData(make_params(augment={"val": [{"Resize": {}}]}), folders_of(project))
    images, _ = next(iter(data.loader("val")))
    path = data.splits["val"].raw / data.splits["val"].manifest.rows[0].path
    expected = np.asarray(Image.open(path).resize((12, 12), Image.Resampling.BILINEAR))
    assert np.array_equal(to_pixels(images[:1], data.settings)[0], expected)


@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_a_grid_of_any_number_of_images(tmp_path, count):
    images = [np.full((6, 6, 3), 10 * n, np.uint8) for n in range(count)]
    image_grid(tmp_path / "grid.png", "title", images, [f"image {n}" for n in range(count)])
    grid = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
    for n in range(count):  # every image is to be seen
        assert np.any(np.all(grid == 10 * n, axis=-1))


def test_the_accelerator_of_the_params_is_kept_to():
    assert device("cpu").type == "cpu"
