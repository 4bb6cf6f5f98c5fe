"""The tables behind the plots of dvc.yaml. It names those of all tasks, so each is there; those of other tasks than the
dataset's have a header and no rows, of which DVC draws nothing."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from formwork.escapes import cell
from formwork.evaluation.metrics import class_accuracy, label_scores
from formwork.evaluation.predictions import Predictions
from formwork.formats import write_csv
from formwork.interim.settings import Settings

Rows = Iterable[Iterable[object]]
MOST_POINTS = 2000  # of a scatter plot, drawn evenly from all images

HEADERS = {
    "confusion.csv": ("actual", "predicted"),
    "class_accuracy.csv": ("class", "accuracy", "images"),
    "label_scores.csv": ("label", "average_precision", "f1", "images"),
    "scatter.csv": ("name", "target", "predicted"),
}


def write_tables(folder: Path, predictions: Predictions, settings: Settings) -> None:
    """Write all of HEADERS into the folder."""
    rows = {"classes": _of_classes, "multilabel": _of_labels, "regression": _of_numbers}[settings.task](
        predictions, settings
    )
    for name, header in HEADERS.items():
        write_csv(folder / name, [header, *rows.get(name, ())])


def _of_classes(predictions: Predictions, settings: Settings) -> dict[str, Rows]:
    names = list(map(cell, settings.class_names))
    counts = np.bincount(predictions.targets, minlength=len(names))
    by_class = class_accuracy(predictions, len(names))
    return {
        "confusion.csv": (
            (names[a], names[p]) for a, p in zip(predictions.targets, predictions.likeliest, strict=True)
        ),
        "class_accuracy.csv": (
            (name, f"{accuracy:.6f}", images)
            for name, accuracy, images in zip(names, by_class, counts, strict=True)
            if images
        ),
    }


def _of_labels(predictions: Predictions, settings: Settings) -> dict[str, Rows]:
    scores = zip(settings.class_names, *label_scores(predictions), strict=True)
    return {
        "label_scores.csv": (
            (cell(name), f"{precision:.6f}", f"{f1:.6f}", images) for name, precision, f1, images in scores if images
        )
    }


def _of_numbers(predictions: Predictions, settings: Settings) -> dict[str, Rows]:
    count = len(predictions)
    shown = np.arange(min(count, MOST_POINTS)) * count // min(count, MOST_POINTS)
    return {
        "scatter.csv": (
            (cell(name), f"{target:.7g}", f"{answer:.7g}")
            for place, name in enumerate(settings.target_names)
            for target, answer in zip(
                predictions.targets[shown, place].tolist(), predictions.answers[shown, place].tolist(), strict=True
            )
        )
    }
