"""Metrics beside scikit-learn's and torchmetrics', on random answers and on the edges of what there can be."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from formwork.evaluation.assess import Bootstrap, assess
from formwork.evaluation.average_precision import AveragePrecision
from formwork.evaluation.calibration import BINS, bins_of
from formwork.evaluation.metrics import METRICS, among_likeliest
from formwork.evaluation.predictions import Predictions
from formwork.evaluation.sums import fixed_point
from formwork.interim.settings import Settings

NONE = Bootstrap(0, 0, "val")


def settings(task: str, outputs: int) -> Settings:
    names, numbers = [f"n{i}" for i in range(outputs)], task == "regression"
    return Settings(
        name="x",
        task=task,
        class_names=[] if numbers else names,
        target_names=names if numbers else [],
        target_mean=[0.0] * outputs if numbers else [],
        target_std=[2.0] * outputs if numbers else [],
        resolution=8,
        mean=[0.5] * 3,
        std=[0.5] * 3,
        augment_train=[],
        augment_val=[],
    )


def of_classes(targets: np.ndarray, answers: np.ndarray) -> Predictions:
    own = np.take_along_axis(answers, targets[:, None], axis=1)[:, 0]
    return Predictions(targets, answers.astype(np.float32), -np.log(np.maximum(own, 1e-9)).astype(np.float32))


def random_classes(seed: int, images: int, classes: int, present: int) -> Predictions:
    """Only `present` classes have images; others are predicted, too. Of every five images, all answers are equal."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, present, images)
    logits = random.normal(size=(images, classes)) + 2 * np.eye(classes)[targets]
    logits[::5] = 0
    answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return of_classes(targets, answers)


def random_labels(seed: int, images: int, labels: int) -> Predictions:
    """No image has the last label. Many answers are equal."""
    random = np.random.default_rng(seed)
    true = random.random((images, labels)) < 0.3
    true[:, -1] = False
    answers = np.round(np.clip(random.normal(0.4, 0.2, true.shape) + 0.3 * true, 0, 1), 1).astype(np.float32)
    return Predictions(true.astype(np.float32), answers, np.ones(images, np.float32))


@pytest.mark.parametrize(
    ("images", "classes", "present"), [(300, 7, 7), (300, 10, 4), (40, 3, 1), (1, 6, 6), (2, 2, 2)]
)
def test_classes_as_scikit_learn_and_torchmetrics_have_them(images: int, classes: int, present: int) -> None:
    predictions = random_classes(images, images, classes, present)
    found = assess(predictions, settings("classes", classes), np.arange(images), NONE)
    targets, predicted = predictions.targets, predictions.likeliest
    there = np.unique(targets)
    values, parts = found.metrics, found.parts
    assert values["accuracy"] == pytest.approx(sklearn.accuracy_score(targets, predicted), abs=1e-12)
    assert values["loss"] == pytest.approx(predictions.losses.mean(dtype=np.float64), abs=1e-8)
    options = {"labels": there, "zero_division": 0}
    assert values["macro_f1"] == pytest.approx(sklearn.f1_score(targets, predicted, average="macro", **options))
    assert values["mean_class_accuracy"] == pytest.approx(
        sklearn.recall_score(targets, predicted, average="macro", **options)
    )
    precision, recall, f1, support = sklearn.precision_recall_fscore_support(
        targets, predicted, labels=np.arange(classes), zero_division=np.nan
    )
    np.testing.assert_allclose(parts["accuracy"], recall)
    np.testing.assert_allclose(parts["precision"], precision)
    np.testing.assert_allclose(parts["f1"][there], f1[there])
    assert np.isnan(parts["f1"][support == 0]).all()
    assert found.support.tolist() == support.tolist()
    if classes > 5:
        assert values["top5_accuracy"] == among_likeliest(predictions, 5).mean()
    answers = torch.from_numpy(predictions.answers)
    theirs = MulticlassCalibrationError(classes, n_bins=BINS, norm="l1")(answers, torch.from_numpy(targets))
    assert values["ece"] == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize(("images", "labels"), [(200, 6), (1, 2), (30, 1)])
def test_labels_as_scikit_learn_and_torchmetrics_have_them(images: int, labels: int) -> None:
    predictions = random_labels(images, images, labels)
    found = assess(predictions, settings("multilabel", labels), np.arange(images), NONE)
    true, said = predictions.targets.astype(int), predictions.probable.astype(int)
    there, met = true.any(axis=0), (true | said).any(axis=0)
    each = [sklearn.average_precision_score(true[:, k], predictions.answers[:, k]) for k in np.flatnonzero(there)]
    np.testing.assert_allclose(found.parts["average_precision"][there], each)
    assert np.isnan(found.parts["average_precision"][~there]).all()
    assert found.metrics["map"] == pytest.approx(np.mean(each) if each else 0)
    f1 = [sklearn.f1_score(true[:, k], said[:, k], zero_division=0) for k in np.flatnonzero(met)]
    assert found.metrics["f1"] == pytest.approx(np.mean(f1) if f1 else 0)
    micro = sklearn.f1_score(true.ravel(), said.ravel(), zero_division=0)
    assert found.metrics["micro_f1"] == pytest.approx(micro)
    assert found.metrics["exact_match"] == pytest.approx((true == said).all(axis=1).mean())
    nudged = torch.from_numpy(np.clip(predictions.answers - 1e-6, 0, 1)).ravel()  # theirs has the edges in other bins
    theirs = BinaryCalibrationError(n_bins=BINS, norm="l1")(nudged, torch.from_numpy(true).ravel())
    assert found.metrics["ece"] == pytest.approx(float(theirs), abs=1e-4)


@pytest.mark.parametrize(("images", "targets"), [(100, 1), (100, 3), (1, 1)])
def test_numbers_as_scikit_learn_has_them(images: int, targets: int) -> None:
    random = np.random.default_rng(images)
    true = random.normal(1e4, 3, (images, targets)).astype(np.float32)
    answers = true + random.normal(size=true.shape).astype(np.float32)
    found = assess(
        Predictions(true, answers, np.ones(images)), settings("regression", targets), np.arange(images), NONE
    )
    unit = 1 if targets == 1 else 2  # of several, errors are in standard deviations
    assert found.metrics["mae"] == pytest.approx(sklearn.mean_absolute_error(true, answers) / unit)
    assert found.metrics["r2"] == pytest.approx(sklearn.r2_score(true, answers) if images > 1 else 0)
    mae = sklearn.mean_absolute_error(true, answers, multioutput="raw_values")
    np.testing.assert_allclose(found.parts["mae"], mae)


def test_a_resample_has_the_metrics_of_its_images() -> None:
    """Images that count several times are as good as copies, and those that count none as good as gone."""
    random = np.random.default_rng(1)
    numbers = random.normal(size=(50, 2)).astype(np.float32)
    cases = {
        "classes": (random_classes(3, 50, 7, 5), 7),
        "multilabel": (random_labels(4, 50, 4), 4),
        "regression": (Predictions(numbers, numbers + 0.1, random.random(50).astype(np.float32)), 2),
    }
    times = np.stack([np.bincount(random.integers(0, 50, 50), minlength=50) for _ in range(3)], axis=1)
    for task, (predictions, outputs) in cases.items():
        found = METRICS[task](predictions, settings(task, outputs)).of(times.astype(float))
        for sample, counts in enumerate(times.T):
            drawn = np.repeat(np.arange(50), counts)
            copies = Predictions(predictions.targets[drawn], predictions.answers[drawn], predictions.losses[drawn])
            expected = METRICS[task](copies, settings(task, outputs)).of(np.ones((50, 1)))
            for mine, theirs in zip(vars(found).values(), vars(expected).values(), strict=True):
                for name, values in theirs.items():
                    np.testing.assert_allclose(mine[name][..., sample], values[..., 0], atol=1e-6, err_msg=name)


def test_the_class_is_among_the_five_likeliest() -> None:
    answers = np.tile(np.linspace(0.3, 0.0, 8, dtype=np.float32), (8, 1))
    assert among_likeliest(of_classes(np.arange(8), answers), 5).tolist() == [True] * 5 + [False] * 3
    assert among_likeliest(of_classes(np.arange(8), np.full((8, 8), 0.125)), 5).mean() == 5 / 8


def test_the_edge_of_a_bin_belongs_to_it() -> None:
    edges = np.array([0.0, 1 / 15, 1 / 15 + 1e-9, 14 / 15, 1.0])
    assert bins_of(edges).tolist() == [0, 0, 1, 13, 14]


def test_average_precision_where_a_resample_lacks_images() -> None:
    answers, truth = np.array([[0.9], [0.8], [0.7]]), np.array([[False], [True], [True]])
    times = np.array([[0.0, 1.0, 3.0], [0.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    found = AveragePrecision(answers, truth).of(times)[0]
    assert found[0] == 1.0
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(1 / 4)


def test_sums_are_the_same_in_any_order() -> None:
    random = np.random.default_rng(0)
    values = fixed_point(random.normal(size=10_000) * 10 ** random.uniform(-6, 6, 10_000))
    assert len({float(np.cumsum(random.permutation(values))[-1]) for _ in range(20)}) == 1
    assert fixed_point(np.zeros(3)).tolist() == [0, 0, 0]
    assert fixed_point(np.array([0.1, 3e8])) == pytest.approx([0.1, 3e8], abs=1e-4)  # as coarse as the largest needs
