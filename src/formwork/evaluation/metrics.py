"""Metrics of a model on the validation split. A new one is one more line in `metrics`."""

import numpy as np

from formwork.escapes import printable
from formwork.evaluation.predictions import Predictions


def metrics(predictions: Predictions, class_names: list[str]) -> dict[str, float | str]:
    """By the name in metrics.json. Classes without images count in none of them."""
    by_class = class_accuracy(predictions, len(class_names))
    return {
        "images": len(predictions.labels),
        "accuracy": float(predictions.correct.mean()),
        "loss": float(predictions.losses.mean(dtype=np.float64)),
        "mean_class_accuracy": float(np.nanmean(by_class)),
        "worst_class_accuracy": float(np.nanmin(by_class)),
        "worst_class": printable(class_names[int(np.nanargmin(by_class))]),
    }


def class_accuracy(predictions: Predictions, classes: int) -> np.ndarray:
    """(classes,) float64, NaN for a class without images."""
    counts = np.bincount(predictions.labels, minlength=classes)
    hits = np.bincount(predictions.labels[predictions.correct], minlength=classes)
    return np.divide(hits, counts, out=np.full(classes, np.nan), where=counts > 0)
