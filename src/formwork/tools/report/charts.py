"""Charts of a run, drawn from what its stages wrote."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from formwork.drawing.charts import COLOURS, chart
from formwork.tools.summary import read_curve

TRAIN, VAL, TEST = COLOURS["PyTorch"], COLOURS["FFCV"], COLOURS["stock FFCV"]
MOST_NAMES = 30  # classes that are named at the edge of a confusion matrix; numbers in its cells up to half as many


CURVES = {"accuracy": "accuracy", "f1": "F1", "map": "mAP", "mae": "MAE", "r2": "R2"}
"""Titles of the metrics of all tasks, by name."""


def draw_curves(results: Path, speed: Path, path: Path) -> str:
    """Loss, metrics and images/s by epoch, from the folders of the train stage, to an .svg; gives their titles.

    Raises:
        FormworkError: a curve is missing.
    """
    metrics = results / "plots/metrics"
    names = [name for name in CURVES if _has_epochs(metrics / f"val/{name}.tsv")]
    titles = ["loss", *(CURVES[name] for name in names), "images/s in training"]
    with chart(path, columns=len(titles), size=(3.6, 2.8)) as panels:
        for axes, name in zip(panels, ("loss", *names), strict=False):
            for split, colour in (("train", TRAIN), ("val", VAL)):
                curve = metrics / split / f"{name}.tsv"
                if split == "val" or _has_epochs(curve) or name == "loss":
                    axes.plot(*read_curve(curve), color=colour, marker=".", label=split)
            axes.legend()
            if name in ("loss", "mae"):
                axes.set_ylim(bottom=0)
            else:
                axes.set_ylim(top=1)
        panels[-1].plot(*read_curve(speed / "plots/metrics/images_per_second.tsv"), color="#444444", marker=".")
        panels[-1].set_ylim(bottom=0)
        for axes, title in zip(panels, titles, strict=True):
            axes.set(title=title, xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return ", ".join(titles)


def _has_epochs(path: Path) -> bool:
    """Curves of other tasks have a header alone, or are of before there were any."""
    try:
        return path.read_text(encoding="utf-8").count("\n") > 1
    except OSError:
        return False


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


def draw_scatter(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Predicted numbers by target, a panel for each, to an .svg.

    Args:
        rows: of scatter.csv.
    """
    names = list(dict.fromkeys(row["name"] for row in rows))
    with chart(path, columns=min(len(names), 3), rows=-(-len(names) // 3), size=(3.6, 3.4)) as panels:
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        for axes, name in zip(panels, names, strict=False):
            points = [(float(row["target"]), float(row["predicted"])) for row in rows if row["name"] == name]
            targets, predicted = zip(*points, strict=True)
            ends = min(*targets, *predicted), max(*targets, *predicted)
            axes.plot(ends, ends, color=COLOURS["limit"], linewidth=1)
            axes.scatter(targets, predicted, s=8, color=VAL, alpha=0.5, linewidths=0)
            axes.set(title=name, xlabel="target", ylabel="predicted")


def draw_timesteps(rows: Sequence[Mapping[str, str]], title: str, path: Path) -> None:
    """The score of the outputs of each timestep, to an .svg; timesteps that show a blank are shaded.

    Args:
        rows: of timesteps.csv. title: what the score is called.
    """
    steps = [int(row["step"]) for row in rows]
    with chart(path) as (axes,):
        for split, colour in (("val", VAL), ("test", TEST)):
            if f"{split}_score" in rows[0]:
                axes.plot(steps, [float(row[f"{split}_score"]) for row in rows], color=colour, marker=".", label=split)
        for step, row in zip(steps, rows, strict=True):
            if row["shown"] == "0":
                axes.axvspan(step - 0.5, step + 0.5, color="#eeeeee", linewidth=0, zorder=0)
        axes.set(xlabel="timestep", ylabel=title, xlim=(0.5, len(steps) + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.legend()


def draw_label_scores(rows: Sequence[Mapping[str, str]], path: Path) -> None:
    """Average precision and F1 of labels as bars, the first on top, to an .svg.

    Args:
        rows: of label_scores.csv.
    """
    places = np.arange(len(rows))
    with chart(path, size=(6.4, 1.2 + 0.34 * len(rows))) as (axes,):
        for shift, key, title, colour in (
            (-0.2, "average_precision", "average precision", VAL),
            (0.2, "f1", "F1", TRAIN),
        ):
            axes.barh(places + shift, [float(row[key]) for row in rows], 0.4, label=title, color=colour)
        axes.set_yticks(places, [f"{row['label']} ({int(row['images']):,})" for row in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlim=(0, 1))
        axes.grid(visible=False, axis="y")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
