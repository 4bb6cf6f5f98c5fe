"""Metrics of a model on a split. A new one is one more line in the function of its task."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from formwork.escapes import printable
from formwork.evaluation.predictions import Predictions
from formwork.interim.settings import Settings
from formwork.tasks.multilabel import average_precisions, f1_scores, mean_of_known
from formwork.tasks.regression import NO_SPREAD

MANY_CLASSES = 5  # more of them have a top-5 accuracy


def metrics(predictions: Predictions, settings: Settings) -> dict[str, Any]:
    """By name. Classes and labels without images count in none of them."""
    found = OF_TASK[settings.task](predictions, settings)
    return {"images": len(predictions), **found, "loss": float(predictions.losses.mean(dtype=np.float64))}


def _of_classes(predictions: Predictions, settings: Settings) -> dict[str, Any]:
    names = settings.class_names
    by_class = class_accuracy(predictions, len(names))
    top5 = {"top5_accuracy": top_accuracy(predictions, 5)} if len(names) > MANY_CLASSES else {}
    return {
        "accuracy": float((predictions.likeliest == predictions.targets).mean()),
        **top5,
        "mean_class_accuracy": float(np.nanmean(by_class)),
        "worst_class_accuracy": float(np.nanmin(by_class)),
        "worst_class": printable(names[int(np.nanargmin(by_class))]),
    }


def class_accuracy(predictions: Predictions, classes: int) -> np.ndarray:
    """(classes,) float64, NaN for a class without images."""
    targets = predictions.targets
    counts = np.bincount(targets, minlength=classes)
    hits = np.bincount(targets[predictions.likeliest == targets], minlength=classes)
    return np.divide(hits, counts, out=np.full(classes, np.nan), where=counts > 0)


def top_accuracy(predictions: Predictions, most: int) -> float:
    """The share of images whose class is among the `most` likeliest; of equal ones, those that come first."""
    own = np.take_along_axis(predictions.answers, predictions.targets[:, None], axis=1)
    before = np.arange(predictions.answers.shape[1]) < predictions.targets[:, None]
    above = (predictions.answers > own) | ((predictions.answers == own) & before)
    return float((above.sum(axis=1) < most).mean())


def _of_labels(predictions: Predictions, settings: Settings) -> dict[str, Any]:
    precisions, scores, _ = label_scores(predictions)
    said, true = predictions.probable, predictions.targets > 0.5
    wholly = np.all(said == true, axis=1)
    found: dict[str, Any] = {
        "map": mean_of_known(precisions),
        "f1": mean_of_known(scores),
        "exact_match": float(wholly.mean()),
    }
    if not np.isnan(precisions).all():
        worst = int(np.nanargmin(precisions))
        found |= {"worst_label_ap": float(precisions[worst]), "worst_label": printable(settings.class_names[worst])}
    return found


def label_scores(predictions: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K,) average precision, F1, and images of each label; NaN where a score is not defined."""
    said, true = predictions.probable, predictions.targets > 0.5
    both, says, images = ((array).sum(axis=0) for array in (said & true, said, true))
    return average_precisions(predictions.answers, true), f1_scores(both, says, images), images


def _of_numbers(predictions: Predictions, settings: Settings) -> dict[str, Any]:
    targets, std = predictions.targets.astype(np.float64), np.array(settings.target_std)
    errors = predictions.answers.astype(np.float64) - targets
    squared, variance = np.square(errors).mean(axis=0), targets.var(axis=0)
    known = variance > NO_SPREAD * np.square(std)
    r2 = np.where(known, 1 - squared / np.where(known, variance, 1), 0.0)
    units = std if len(std) > 1 else 1.0  # see formwork.tasks.regression
    found: dict[str, Any] = {
        "mae": float((np.abs(errors).mean(axis=0) / units).mean()),
        "rmse": float((np.sqrt(squared) / units).mean()),
        "r2": float(r2.mean()),
    }
    if len(std) > 1:
        found |= {"mae_of": _by_name(settings, np.abs(errors).mean(axis=0)), "r2_of": _by_name(settings, r2)}
    return found


def _by_name(settings: Settings, values: Sequence[float] | np.ndarray) -> dict[str, float]:
    return {printable(name): float(value) for name, value in zip(settings.target_names, values, strict=True)}


OF_TASK: dict[str, Callable[[Predictions, Settings], dict[str, Any]]] = {
    "classes": _of_classes,
    "multilabel": _of_labels,
    "regression": _of_numbers,
}
