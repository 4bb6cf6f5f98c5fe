"""Charts of a run, drawn from what its stages wrote."""

import csv
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from formwork.tools.charts import COLOURS, chart
from formwork.tools.summary import read_curve

TRAIN, VAL = COLOURS["PyTorch"], COLOURS["FFCV"]
MOST_NAMES = 30  # classes that are named at the edge of a confusion matrix; numbers in its cells up to half as many


def draw_curves(results: Path, speed: Path, path: Path) -> None:
    """Loss, accuracy and images/s by epoch, from the folders of the train stage, to an .svg.

    Raises:
        FormworkError: a curve is missing.
    """
    metrics = results / "plots/metrics"
    with chart(path, columns=3, size=(3.6, 2.8)) as (loss, accuracy, rate):
        for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
            for split, colour in (("train", TRAIN), ("val", VAL)):
                axes.plot(*read_curve(metrics / split / f"{name}.tsv"), color=colour, marker=".", label=split)
            axes.set(title=name, xlabel="epoch")
            axes.legend()
        loss.set_ylim(bottom=0)
        accuracy.set_ylim(top=1)
        rate.plot(*read_curve(speed / "plots/metrics/images_per_second.tsv"), color="#444444", marker=".")
        rate.set(title="images/s in training", xlabel="epoch")
        rate.set_ylim(bottom=0)
        for axes in (loss, accuracy, rate):
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def read_confusion(path: Path) -> tuple[list[str], np.ndarray]:
    """Class names, and (classes, classes) int64: images of the class of the row that were taken for that of the column.

    Raises:
        OSError: it cannot be read. ValueError, KeyError: it is no such file.
    """
    with path.open(encoding="utf-8", newline="") as file:
        pairs = [(row["actual"], row["predicted"]) for row in csv.DictReader(file)]
    if not pairs:
        raise ValueError(f"{path} has no predictions")
    names = sorted({name for pair in pairs for name in pair})
    numbers = {name: number for number, name in enumerate(names)}
    counts = np.zeros((len(names), len(names)), np.int64)
    for actual, predicted in pairs:
        counts[numbers[actual], numbers[predicted]] += 1
    return names, counts


def draw_confusion(names: list[str], counts: np.ndarray, path: Path) -> None:
    """A confusion matrix, to an .svg; shares of each row as shades, counts as numbers where there is room."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(max(0.42 * len(names) + 1.6, 3.2), 9.0)
    with chart(path, size=(side + 0.6, side)) as (axes,):
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        axes.set(xlabel="predicted", ylabel="actual")
        axes.grid(visible=False)
        if len(names) <= MOST_NAMES:
            axes.set_xticks(range(len(names)), names, rotation=0 if max(map(len, names)) < 4 else 90)
            axes.set_yticks(range(len(names)), names)
        if len(names) <= MOST_NAMES // 2:
            for (y, x), count in np.ndenumerate(counts):
                if count:
                    colour = "white" if shares[y, x] > 0.5 else "black"
                    axes.text(x, y, str(count), ha="center", va="center", fontsize=7, color=colour)
        axes.figure.colorbar(image, ax=axes, label="share of the actual class", shrink=0.8)
