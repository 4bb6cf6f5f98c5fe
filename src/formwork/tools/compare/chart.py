"""A comparison of the loaders as one picture; others are drawn in case_chart.py."""

import statistics
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from formwork.drawing.charts import COLOURS, chart
from formwork.tools.compare.case_chart import draw_cases
from formwork.tools.compare.summary import FELL_BACK, FFCV, PYTORCH, Summary
from formwork.tools.compare.tables import as_text, pay_off

COLOUR = {FFCV: COLOURS["FFCV"], FELL_BACK: COLOURS["limit"], PYTORCH: COLOURS["PyTorch"]}
SEEN = 10  # times the epochs of a run: where the conversion pays off later, the crossing is not drawn


def draw(summary: Summary, path: Path) -> None:
    """Write a picture of the figures of each kind of runs, with the range of all of them; where loaders are compared,
    also what training takes from the conversion on.

    Args:
        path: an .svg or .png.
    """
    several = "; bars are medians, lines the range of all runs" if len(summary.runs) > len(summary.kinds) else ""
    title = f"{summary.dataset}, {summary.epochs_in_words}, on {summary.machine}{several}"
    if not summary.of_loaders:
        draw_cases(summary, title, path)
        return
    with chart(path, rows=2, columns=3, size=(3.6, 2.8)) as (epoch, rate, total, first, memory, score):
        epoch.figure.suptitle(title, fontsize=10)
        _bars(epoch, summary, "seconds", "seconds an epoch (hatched: waiting for data)")
        for x, kind in enumerate(summary.kinds):
            waiting = statistics.median(run.waiting_seconds for run in summary.of(kind))
            epoch.bar(x, waiting, 0.6, color="none", edgecolor="white", hatch="////", linewidth=0)
        _bars(rate, summary, "images_per_second", "images/s in an epoch")
        _bars(first, summary, "first_batch_seconds", "seconds to the first batch")
        _bars(memory, summary, "peak_memory_mb", "peak memory, MB")
        _bars(score, summary, "score", f"validation {summary.metric}")
        _total(total, summary)


def _bars(axis: Axes, summary: Summary, figure: str, title: str) -> None:
    kinds = summary.kinds
    for x, kind in enumerate(kinds):
        spread = summary.spread(kind, figure)
        if spread is None:  # memory, where it cannot be measured
            continue
        axis.bar(x, spread.median, 0.6, color=COLOUR[kind])
        if spread.low < spread.high:
            axis.vlines(x, spread.low, spread.high, color="black", linewidth=1.2)
        label = as_text(figure, spread.median)
        axis.annotate(label, (x, spread.high), (0, 3), textcoords="offset points", ha="center", fontsize=8)
    axis.set_title(title)
    axis.set_xticks(range(len(kinds)), kinds)
    axis.set_xlim(-0.7, len(kinds) - 0.3)
    axis.margins(y=0.15)
    axis.grid(visible=False, axis="x")


def _total(axis: Axes, summary: Summary) -> None:
    """Lines that start with the seconds of the conversion, and cross where it has paid for itself."""
    conversion, epochs = summary.conversion_seconds or 0.0, summary.pays_off_after
    crossing = epochs if epochs is not None and epochs <= SEEN * summary.epochs else 0
    last = max(summary.epochs, crossing)
    for kind in summary.kinds:
        start = conversion if kind == FFCV else 0.0
        axis.plot([0, last], [start, start + last * summary.seconds(kind).median], color=COLOUR[kind], label=kind)
    without = summary.conversion is None
    axis.set_title("seconds in all, without the conversion" if without else "seconds in all, conversion included")
    if summary.compares_loaders and not without:
        box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
        text = f"conversion has paid for itself:\n{pay_off(summary)}"
        axis.text(0.98, 0.05, text, transform=axis.transAxes, ha="right", fontsize=8, bbox=box)
    if crossing:
        paid = conversion + crossing * summary.seconds(FFCV).median
        axis.plot(crossing, paid, "o", color="black", markersize=4)
    axis.set_xlabel("epochs")
    axis.set_xlim(0, last)
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend(loc="upper left")
