"""A chart of how many images each class has, by split."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from formwork.drawing.charts import OTHERS, chart
from formwork.escapes import printable

NAMED = 40  # classes that have a bar and a name each; more are sorted by size
UNEVEN = 20  # times as many images in one class as in another: from there on the axis is logarithmic
EXTREMES = 2  # of the sorted classes, named at either end
LONGEST = 32  # characters of a name
BINS = 20  # of a histogram
NUMBER = "{x:,.0f}"

Counts = Mapping[str, np.ndarray]
"""By split, (classes,) images of each class."""


def label_counts(path: Path, dataset: str, names: Sequence[str], counts: Counts, kind: str = "class") -> None:
    """Write a PNG or SVG.

    Args:
        kind: "class", or "label" where an image may have several.

    Raises:
        FormworkError: `path` cannot be written.
    """
    names = [printable(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…") for name in names]
    if len(names) <= NAMED:
        with chart(path, size=(6.4, 1.2 + 0.34 * len(names))) as (axis,):
            axis.set_title("\n".join([f"{printable(dataset)}: images by {kind}", *_ranges(counts, kind)]), loc="left")
            _bars(axis, names, counts)
    else:
        with chart(path, rows=len(counts), size=(8, 2.6)) as axes:
            _sorted(axes, printable(dataset), names, counts, kind)


def target_histograms(path: Path, dataset: str, names: Sequence[str], targets: Mapping[str, np.ndarray]) -> str:
    """Write a PNG or SVG of how numbers are spread; gives a line on them.

    Args:
        targets: by split, (N, K) numbers of these K names.

    Raises:
        FormworkError: `path` cannot be written.
    """
    sizes = ", ".join(f"{split}: {len(of_split):,} images" for split, of_split in targets.items())
    with chart(path, columns=min(len(names), 3), rows=-(-len(names) // 3), size=(4.2, 3)) as axes:
        axes[0].figure.suptitle(f"{printable(dataset)}: {sizes}", fontsize=10)
        for axis in axes[len(names) :]:
            axis.set_visible(False)
        for place, (axis, name) in enumerate(zip(axes, names, strict=False)):
            values = [numbers[:, place] for numbers in targets.values()]
            shares = [np.full(len(of_split), 1 / max(len(of_split), 1)) for of_split in values]
            edges = np.histogram_bin_edges(np.concatenate(values), BINS).tolist()
            axis.hist(values, edges, weights=shares, label=list(targets), color=OTHERS[: len(values)])
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.set(title=printable(name), xlabel="value", ylabel="share of the images")
            axis.legend()
    return sizes


def summary(counts: Counts, kind: str = "class") -> str:
    """ "train: 1448 images, 139 to 151 a class; val: ..." """
    return "; ".join(_ranges(counts, kind))


def _ranges(counts: Counts, kind: str) -> list[str]:
    return [f"{split}: {_range(of_split, kind)}" for split, of_split in counts.items()]


def _range(counts: np.ndarray, kind: str) -> str:
    low, high = int(counts.min()), int(counts.max())
    ends = f"{f'{low:,} to ' if low != high else ''}{high:,}"
    return f"{counts.sum():,} images, {ends} a class" if kind == "class" else f"{ends} images a label"


def _bars(axis: Axes, names: Sequence[str], counts: Counts) -> None:
    places = np.arange(len(names))
    height = 0.8 / len(counts)
    for i, ((split, of_split), colour) in enumerate(zip(counts.items(), OTHERS, strict=False)):
        bars = axis.barh(places + (i + 0.5) * height - 0.4, of_split, height, label=split, color=colour)
        axis.bar_label(bars, [f"{count:,}" for count in of_split], padding=3, fontsize=7)
    axis.set_yticks(places, names)
    axis.set_ylim(len(names) - 0.4, -0.6)  # the first class on top
    axis.grid(visible=False, axis="y")
    axis.set_xlabel("images")
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axis.xaxis.set_major_formatter(NUMBER)
    axis.margins(x=0.12)  # for the numbers behind the bars
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _sorted(axes: Sequence[Axes], dataset: str, names: Sequence[str], counts: Counts, kind: str) -> None:
    """A panel a split, of classes side by side without names; in each, those with most images of the first split come
    first, and the ends are named below."""
    leading, first = next(iter(counts.items()))
    order = np.argsort(-first, kind="stable")
    for axis, (split, of_split), colour in zip(axes, counts.items(), OTHERS, strict=False):
        axis.stairs(of_split[order], np.arange(len(names) + 1), fill=True, color=colour)
        axis.set_title(f"{dataset}, {split}: {_range(of_split, kind)}", loc="left")
        axis.set_ylabel("images")
        present = of_split[of_split > 0]
        if present.size and present.max() > UNEVEN * present.min():
            axis.set_yscale("log")
            axis.set_ylim(bottom=0.8)
        axis.yaxis.set_major_formatter(NUMBER)
        axis.set_xlim(0, len(names))
    axes[-1].set_xlabel(
        f"{len(names):,} {'classes' if kind == 'class' else 'labels'}, by their number of images in {leading}\n"
        f"most: {_listed(names, first, order[:EXTREMES])}\nfewest: {_listed(names, first, order[-EXTREMES:])}",
        loc="left",
    )


def _listed(names: Sequence[str], counts: np.ndarray, labels: np.ndarray) -> str:
    return ", ".join(f"{printable(names[label])} ({counts[label]:,})" for label in labels.tolist())
