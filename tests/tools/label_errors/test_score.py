"""Planted wrong labels are found, by models that are really trained."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from formwork.tools.label_errors.score import suspect_classes, suspect_labels, suspect_numbers


@pytest.fixture(scope="module")
def planted() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(true labels, given labels, planted rows, out-of-fold probabilities) of 1,797 digits, 54 of them wrong."""
    pixels, true = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    rows = rng.choice(len(true), 54, replace=False)
    given = true.copy()
    given[rows] = (true[rows] + rng.integers(1, 10, len(rows))) % 10
    model = LogisticRegression(max_iter=200)
    return true, given, rows, cross_val_predict(model, pixels / 16, given, cv=3, method="predict_proba")


def test_planted_wrong_classes_come_first(planted):
    true, given, rows, probabilities = planted
    found = suspect_classes(given, probabilities)
    first = found.rows[: len(rows)]
    assert np.isin(first, rows).mean() > 0.7
    assert np.isin(rows, found.rows).mean() > 0.95
    planted_and_found = np.isin(found.rows, rows)
    assert (found.suggested[planted_and_found] == true[found.rows[planted_and_found]]).mean() > 0.9
    likely = found.rows[found.confident]
    assert len(rows) / 2 < len(likely) < 1.5 * len(rows)
    assert np.isin(likely, rows).mean() > 0.65
    assert np.all(np.diff(found.scores) <= 0)
    assert found.probability == pytest.approx(found.scores + probabilities[found.rows, given[found.rows]])


def test_nothing_is_wrong_where_the_model_agrees(planted):
    _, _, _, probabilities = planted
    assert len(suspect_classes(probabilities.argmax(axis=1), probabilities)) == 0


def test_the_bar_of_a_class_is_how_sure_the_model_is_of_it():
    """The mean of class 0 is 0.9, that of class 1 is 0.6: 0.65 is sure for class 1 and unsure for class 0."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.35, 0.65], [0.65, 0.35]])
    labels = np.array([0, 0, 1, 1, 0, 1])
    found = suspect_classes(labels, probabilities)
    assert dict(zip(found.rows.tolist(), found.confident.tolist(), strict=True)) == {4: True, 5: False}


def test_a_class_without_images_is_suggested_and_never_sure():
    found = suspect_classes(np.array([0]), np.array([[0.2, 0.8]]))
    assert (found.rows.tolist(), found.suggested.tolist(), found.confident.tolist()) == ([0], [1], [False])


def test_labels_that_are_missing_and_too_much():
    rng = np.random.default_rng(0)
    true = rng.random((300, 3)) < 0.4
    probabilities = np.clip(np.where(true, 0.9, 0.1) + rng.normal(0, 0.05, true.shape), 0, 1)
    given = true.copy()
    given[7, 1] ^= True
    given[40] ^= True
    found = suspect_labels(given, probabilities)
    assert sorted(found.rows.tolist()) == [7, 40]
    assert found.confident.any()
    for row, suggested in zip(found.rows, found.suggested, strict=True):
        assert suggested.tolist() == true[row].tolist()


def test_numbers_far_from_their_prediction():
    rng = np.random.default_rng(0)
    true = rng.normal(0, 10, (200, 2))
    predicted = true + rng.normal(0, 1, true.shape)
    given = true.copy()
    given[5, 0] += 30
    given[9, 1] -= 12
    found = suspect_numbers(given, predicted)
    assert found.rows[:2].tolist() == [5, 9]
    assert len(found) < 6
    assert found.suggested[0].tolist() == [predicted[5, 0], given[5, 1]]  # what is plausible stays


@pytest.mark.parametrize("images", [0, 1])
def test_hardly_any_images(images):
    assert len(suspect_classes(np.zeros(images, np.int64), np.ones((images, 1)))) == 0
    assert len(suspect_labels(np.ones((images, 2), bool), np.ones((images, 2)))) == 0
    assert len(suspect_numbers(np.ones((images, 1)), np.ones((images, 1)))) == 0
