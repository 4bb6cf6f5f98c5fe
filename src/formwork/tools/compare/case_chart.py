"""A comparison of settings as one picture: a line for each case, a panel for each figure."""

from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes

from formwork.drawing.charts import COLOURS, OTHERS, chart
from formwork.tools.compare.summary import Summary
from formwork.tools.compare.tables import as_text

PALETTE = (*COLOURS.values(), *OTHERS)
WIDEST = 26  # characters of a line of a name
PANELS = {
    "score": "{metric} on validation",
    "test_score": "{metric} on test",
    "seconds": "seconds an epoch",
    "first_batch_seconds": "seconds to the first batch",
    "images_per_second": "images/s in an epoch",
    "peak_memory_mb": "peak memory, MB",
}


def draw_cases(summary: Summary, title: str, path: Path) -> None:
    """Write scores as dots, whose scale need not begin at 0, and other figures as bars;
    a line is the range of all runs.

    Args:
        path: an .svg or .png.
    """
    names = [fill(kind, WIDEST) for kind in summary.kinds]
    lines = sum(name.count("\n") + 1.6 for name in names)
    with chart(path, rows=2, columns=3, size=(3.6, max(1.1 + 0.24 * lines, 1.8))) as axes:
        axes[0].figure.suptitle(title, fontsize=10)
        for place, (axis, (figure, words)) in enumerate(zip(axes, PANELS.items(), strict=True)):
            _panel(axis, summary, figure, is_score=figure in ("score", "test_score"))
            axis.set_title(words.format(metric=summary.metric))
            axis.set_yticks(range(len(names)), names if place % 3 == 0 else [""] * len(names))
            axis.set_ylim(len(names) - 0.4, -0.6)  # the first on top
            axis.grid(visible=False, axis="y")


def _panel(axis: Axes, summary: Summary, figure: str, is_score: bool) -> None:
    for y, kind in enumerate(summary.kinds):
        spread = summary.spread(kind, figure)
        colour = PALETTE[y % len(PALETTE)]
        if spread is None:
            axis.annotate(
                "not measured",
                (0, y),
                (4, 0),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=8,
                textcoords="offset points",
                color="#777777",
            )
            continue
        if is_score:
            axis.plot(spread.median, y, "o", color=colour, markersize=7)
        else:
            axis.barh(y, spread.median, 0.6, color=colour)
        if spread.low < spread.high:
            axis.hlines(y, spread.low, spread.high, color="black", linewidth=1.2)
        label = as_text(figure, spread.median)
        axis.annotate(label, (spread.high, y), (7, 0), textcoords="offset points", va="center", fontsize=8)
    axis.margins(x=0.3 if is_score else 0.25)
