"""Losses, weights and metrics of each task, beside torch's and scikit-learn's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy
from sklearn.metrics import average_precision_score, f1_score, mean_absolute_error, r2_score
from torch.nn import functional

from formwork.errors import DatasetError
from formwork.interim.settings import Settings
from formwork.params import Train
from formwork.tasks import TASKS, task_of
from formwork.tasks.base import LossOptions
from formwork.tools.scores import SCORES
from formwork.training.objective import Objective
from formwork.training.tally import Tally

CPU = SingleDeviceStrategy("cpu")
BASE = {"name": "x", "resolution": 8, "mean": [0.5] * 3, "std": [0.5] * 3, "augment_train": [], "augment_val": []}
SETTINGS = {
    "classes": Settings(**BASE, class_names=["a", "b", "c"]),
    "multilabel": Settings(**BASE, task="multilabel", class_names=["a", "b", "c"]),
    "regression": Settings(
        **BASE,
        task="regression",
        class_names=[],
        target_names=["age", "price"],
        target_mean=[40.0, 1e6],
        target_std=[10.0, 2e5],
    ),
}


def data(task: str, count: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and targets of images."""
    random = torch.Generator().manual_seed(count)
    outputs = torch.randn(count, 2 if task == "regression" else 3, generator=random)
    if task == "classes":
        return outputs, torch.randint(3, (count,), generator=random)
    if task == "multilabel":
        return outputs, (torch.rand(count, 3, generator=random) < torch.tensor([0.5, 0.1, 0.3])).float()
    return outputs, torch.randn(count, 2, generator=random) * torch.tensor([10.0, 2e5]) + torch.tensor([40.0, 1e6])


def targets_of(counts: list[int], images: int, weights: list[float] | None = None) -> SimpleNamespace:
    array = None if weights is None else np.array(weights, np.float32)
    return SimpleNamespace(counts=lambda: (np.array(counts), images), weights=array)


def test_every_task_has_a_score_that_tools_know():
    assert [(task.score, task.score_title) for task in TASKS] == [(score.name, score.title) for score in SCORES]


def test_classes_are_balanced_by_their_number_of_images():
    outputs, targets = data("classes")
    objective = Objective(task_of(SETTINGS["classes"]), Train(class_weights="balanced"), targets_of([60, 30, 10], 100))
    weights = torch.tensor([100 / (3 * 60), 100 / (3 * 30), 100 / (3 * 10)])
    each = functional.cross_entropy(outputs, targets, reduction="none") * weights[targets]
    assert objective(outputs, targets) == pytest.approx(float(each.mean()))
    mixed = functional.one_hot(targets, 3).float().lerp(torch.full((40, 3), 1 / 3), 0.2)
    expected = -(mixed * weights * outputs.log_softmax(dim=1)).sum(dim=1).mean()
    assert objective(outputs, mixed) == pytest.approx(float(expected))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("task", SETTINGS)
def test_outputs_of_any_type_have_a_loss(task, dtype):
    outputs, targets = data(task)
    balanced = Train(class_weights=None if task == "regression" else "balanced", label_smoothing=0.0)
    objective = Objective(task_of(SETTINGS[task]), balanced, targets_of([20, 12, 8], 40))
    expected = float(objective(outputs, targets))
    assert float(objective(outputs.to(dtype), targets)) == pytest.approx(expected, rel=0.01)


def test_labels_are_balanced_by_those_that_lack_them():
    outputs, targets = data("multilabel")
    objective = Objective(
        task_of(SETTINGS["multilabel"]), Train(class_weights="balanced"), targets_of([50, 10, 0], 100)
    )
    expected = functional.binary_cross_entropy_with_logits(outputs, targets, pos_weight=torch.tensor([1.0, 9.0, 1.0]))
    assert objective(outputs, targets) == pytest.approx(float(expected))


@pytest.mark.parametrize("task", SETTINGS)
def test_the_loss_of_parts_is_that_of_the_whole_with_weights_too(task):
    """Devices that share a batch take the mean of their losses."""
    outputs, targets = data(task)
    weights = torch.arange(40).float()
    objective = Objective(task_of(SETTINGS[task]), Train(), targets_of([], 4, weights=[0, 1, 2, 5]))
    parts = [objective(outputs[part], targets[part], weights[part]) for part in (slice(0, 20), slice(20, 40))]
    whole = objective(outputs, targets, weights)
    assert whole == pytest.approx(float(sum(parts)) / 2)
    each = objective.task.losses(outputs, targets) * weights / 2
    assert whole == pytest.approx(float(each.mean()))
    assert objective(outputs, targets) == pytest.approx(float(objective.task.losses(outputs, targets).mean()))


def test_weights_that_are_all_0_are_refused():
    with pytest.raises(DatasetError, match="weights of all training images are 0"):
        Objective(task_of(SETTINGS["classes"]), Train(), targets_of([], 2, weights=[0, 0]))


@pytest.mark.parametrize("task", SETTINGS)
def test_a_tally_of_batches_interrupted_or_not_is_that_of_the_whole(task):
    outputs, targets = data(task)
    of_task = task_of(SETTINGS[task])
    whole, parts, resumed = (Tally(of_task, keep=True) for _ in range(3))
    whole.add(of_task.losses(outputs, targets, LossOptions("mean")), outputs, targets)
    for start, stop in ((0, 7), (7, 30), (30, 40)):
        part = slice(start, stop)
        loss = of_task.losses(outputs[part], targets[part], LossOptions("mean"))
        parts.add(loss, outputs[part], targets[part])
        if start:
            resumed.add(loss, outputs[part], targets[part])
        else:
            resumed.load(parts.state(CPU), torch.device("cpu"))
    means = whole.means(CPU)
    assert means == pytest.approx(parts.means(CPU), rel=1e-5)
    resumed.keep = False  # outputs are kept in validation alone, which begins anew
    assert resumed.means(CPU) == {name: parts.means(CPU)[name] for name in ("loss", *of_task.metrics)}
    if task == "multilabel":
        said = outputs > 0
        assert means["f1"] == pytest.approx(f1_score(targets, said, average="macro"))
        assert means["map"] == pytest.approx(average_precision_score(targets, outputs))
    if task == "regression":
        answers = of_task.answers(outputs)
        mae = mean_absolute_error(targets, answers, multioutput="raw_values") / [10, 2e5]
        assert means["mae"] == pytest.approx(mae.mean(), rel=1e-5)
        assert means["r2"] == pytest.approx(r2_score(targets, answers), rel=1e-4)


def test_a_loss_that_is_not_finite_leaves_no_metric():
    outputs, targets = data("multilabel")
    tally = Tally(task_of(SETTINGS["multilabel"]), keep=True)
    tally.add(torch.tensor(float("nan")), outputs, targets)
    assert {name for name, value in tally.means(CPU).items() if np.isnan(value)} == {"loss", "f1", "map"}


def test_equal_targets_have_no_r2_to_explain():
    task = task_of(SETTINGS["regression"])
    outputs, targets = data("regression")
    tally = Tally(task)
    tally.add(torch.tensor(1.0), outputs, targets[:1].expand(40, 2))
    assert tally.means(CPU)["r2"] == 0
