"""The tables of evaluate, as CSV: those behind the plots of dvc.yaml, and those of all splits in a folder of their own.

dvc.yaml names the former for all tasks, so each is there; those of other tasks than the dataset's have a header and no
rows, of which DVC draws nothing. In the folder are those alone that the task has.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from formwork.escapes import cell
from formwork.evaluation.assess import Assessment
from formwork.evaluation.calibration import BINS
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
PARTS = {
    "classes": ("class", "classes"),
    "multilabel": ("label", "labels"),
    "regression": ("target", "targets"),
}
"""By task, what has scores of its own, one and many."""


def write_plots(folder: Path, predictions: Predictions, assessment: Assessment, settings: Settings) -> None:
    """Write all of HEADERS, of one split."""
    rows = {"classes": _of_classes, "multilabel": _of_labels, "regression": _of_numbers}[settings.task](
        predictions, assessment, settings
    )
    for name, header in HEADERS.items():
        write_csv(folder / name, [header, *rows.get(name, ())])


def _of_classes(predictions: Predictions, assessment: Assessment, settings: Settings) -> dict[str, Rows]:
    names = list(map(cell, settings.class_names))
    return {
        "confusion.csv": (
            (names[a], names[p]) for a, p in zip(predictions.targets, predictions.likeliest, strict=True)
        ),
        "class_accuracy.csv": (
            (name, f"{accuracy:.6f}", images)
            for name, accuracy, images in zip(names, assessment.parts["accuracy"], assessment.support, strict=True)
            if images
        ),
    }


def _of_labels(predictions: Predictions, assessment: Assessment, settings: Settings) -> dict[str, Rows]:
    scores = (assessment.parts[name] for name in ("average_precision", "f1"))
    return {
        "label_scores.csv": (
            (cell(name), f"{precision:.6f}", f"{f1:.6f}", images)
            for name, precision, f1, images in zip(settings.class_names, *scores, assessment.support, strict=True)
            if images
        )
    }


def _of_numbers(predictions: Predictions, assessment: Assessment, settings: Settings) -> dict[str, Rows]:
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


def write_parts(folder: Path, found: Mapping[str, Assessment], settings: Settings) -> None:
    """Write the scores of each class, label or target, a row each, of all splits."""
    rows = ([split, *row] for split, assessment in found.items() for row in part_rows(assessment, settings))
    header = part_header(next(iter(found.values())), settings)
    write_csv(folder / f"{PARTS[settings.task][1]}.csv", [["split", *header], *rows])


def part_header(assessment: Assessment, settings: Settings) -> list[str]:
    """Of part_rows."""
    scores = (column for score in assessment.parts for column in with_ends(score))
    return [PARTS[settings.task][0], "images", *scores]


def part_rows(assessment: Assessment, settings: Settings) -> Iterator[list[object]]:
    """The scores of each class, label or target."""
    for place, name in enumerate(settings.target_names or settings.class_names):
        row = [cell(name), assessment.support[place]]
        for score, values in assessment.parts.items():
            ends = assessment.part_intervals.get(score)
            row += measured(values[place], None if ends is None else ends[place])
        yield row


def write_reliability(path: Path, found: Mapping[str, Assessment]) -> None:
    """Write the reliability diagrams of all splits, a row a bin that is not empty."""
    header = ["split", "from", "to", "predictions", "probability", *with_ends("right")]
    rows = []
    for split, assessment in found.items():
        bins, ends = assessment.bins, assessment.bin_intervals
        for place in np.flatnonzero(bins["number"]).tolist():
            number, probability, right = (bins[name][place] for name in ("number", "probability", "right"))
            edges = [f"{edge / BINS:.6f}" for edge in (place, place + 1)]
            shares = measured(right / number, None if ends is None else ends[place])
            rows.append([split, *edges, int(number), f"{probability / number:.6f}", *shares])
    write_csv(path, [header, *rows])


def with_ends(name: str) -> tuple[str, str, str]:
    """The columns of a value and its interval."""
    return name, f"{name}_low", f"{name}_high"


def measured(value: float, ends: np.ndarray | None) -> tuple[str, str, str]:
    """The cells of a value and its interval; empty where they are not known."""
    low, high = (np.nan, np.nan) if ends is None else ends.tolist()
    return _number(value), _number(low), _number(high)


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6g}"
