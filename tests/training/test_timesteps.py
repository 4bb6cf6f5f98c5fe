"""A recurrent model is trained on the timesteps that it is asked for, and judged by its answer."""

import csv
import json

import pytest
import torch

from formwork.evaluation.evaluate import evaluate
from formwork.interim.settings import read_settings
from formwork.loading.project import ProjectData
from formwork.loading.targets import targets_of
from formwork.tasks.base import LossOptions
from formwork.training.datamodule import ImageDataModule
from formwork.training.fit import build_trainer
from formwork.training.module import ImageModule
from tests.training.conftest import make_params


def module_of(folders, **model: object) -> tuple[ImageModule, ProjectData]:
    params = make_params(
        model={"name": "rcnn", **model}, augment={"train": [{"Resize": {}}, {"Mixup": {"alpha": 1.0}}]}
    )
    data = ProjectData(params, folders)
    torch.manual_seed(0)
    return ImageModule(
        params, data.settings, targets_of(data.splits["train"].manifest, data.settings.class_names)
    ), data


@pytest.mark.parametrize(("loss_steps", "counted"), [("all", [0, 1, 2, 3]), ("last", [3]), ([3, 1], [0, 2])])
def test_the_loss_is_the_mean_over_its_steps(folders, loss_steps, counted):
    """Of mixed images, as the loader gives them."""
    module, data = module_of(folders, pattern="1011", loss_steps=loss_steps)
    batch = ImageDataModule(data).transfer_batch_to_device(next(iter(data.loader("train"))), torch.device("cpu"), 0)
    images, targets = batch
    assert images.dim() == 4
    module.trainer = build_trainer(make_params().trainer, [])
    outputs = module.presentation.outputs(module.model, images)
    assert outputs.shape == (16, 4, 3)
    expected = torch.stack([module.task.losses(outputs[:, step], targets, LossOptions("mean")) for step in counted])
    assert module.training_step(batch).item() == pytest.approx(expected.mean().item(), rel=1e-6)
    assert module.tallies["train"].count == 16 * len(counted)


@pytest.mark.parametrize(
    ("model", "answer"),
    [({"pattern": "011", "loss_steps": [2]}, 2), ({"timesteps": 2, "blank_after": 1, "loss_steps": "last"}, 3)],
)
def test_validation_and_evaluation_agree(run, folders, model, answer):
    out = run("out", model={"name": "rcnn", **model}, trainer={"max_epochs": 1})
    evaluate(make_params(model={"name": "rcnn", **model}), folders, out / "best.pt", out / "evaluate")
    trained = torch.load(out / "best.pt", weights_only=True)["val"]
    found = json.loads((out / "evaluate/metrics.json").read_text())
    assert found["val_accuracy"] == trained["accuracy"]
    assert found["val_loss"] == pytest.approx(trained["loss"], rel=1e-5)
    rows = list(csv.DictReader((out / "evaluate/timesteps.csv").read_text().splitlines()))
    assert [row["shown"] for row in rows] == (["0", "1", "1"] if answer == 2 else ["1", "1", "0"])
    assert float(rows[answer - 1]["val_score"]) == pytest.approx(found["val_accuracy"], abs=1e-6)
    assert float(rows[answer - 1]["val_loss"]) == pytest.approx(found["val_loss"], rel=1e-5, abs=1e-6)
    assert len({row["val_loss"] for row in rows}) == 3
    assert read_settings(folders.settings).splits == ["train", "val"]


def test_a_model_that_answers_once_has_no_curve(run, folders):
    out = run("out", trainer={"max_epochs": 1})
    evaluate(make_params(), folders, out / "best.pt", out / "evaluate")
    assert (out / "evaluate/timesteps.csv").read_text().split() == ["step,shown,val_score,val_loss"]
