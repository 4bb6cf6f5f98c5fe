"""A comparison of settings as one picture: a line for each case, a panel for each figure."""

from pathlib import Path
from textwrap import fill

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from formwork.drawing.charts import COLOURS, OTHERS, chart
from formwork.tools.compare.differences import TITLES
from formwork.tools.compare.summary import Summary
from formwork.tools.compare.tables import as_text

PALETTE = (*COLOURS.values(), *OTHERS)
DIFFERENCE = "difference"
WIDEST = 28  # characters of a line of a name
PANELS = {
    "score": "{metric} on validation",
    "test_score": "{metric} on test",
    DIFFERENCE: "{metric} on {split}: difference from the first",
    "seconds": "seconds an epoch",
    "first_batch_seconds": "seconds to the first batch",
    "peak_memory_mb": "peak memory, MB",
}


def draw_cases(summary: Summary, title: str, path: Path) -> None:
    """Write scores as dots, whose scale need not begin at 0, and other figures as bars;
    a line is the range of all runs. Differences have 95 % intervals, filled where they are real.

    Args:
        path: an .svg or .png.
    """
    names = [fill(kind, WIDEST, break_on_hyphens=False) for kind in summary.kinds]
    lines = sum(name.count("\n") + 1.6 for name in names)
    split = "test"
    with chart(path, rows=2, columns=3, size=(3.6, max(1.1 + 0.24 * lines, 1.8))) as axes:
        axes[0].figure.suptitle(title, fontsize=10)
        for place, (axis, (figure, words)) in enumerate(zip(axes, PANELS.items(), strict=True)):
            if figure == DIFFERENCE:
                split = _differences(axis, summary)
            else:
                _panel(axis, summary, figure, is_score=figure in ("score", "test_score"))
            axis.set_title(words.format(metric=summary.metric, split=TITLES[split]))
            axis.set_yticks(range(len(names)), names if place % 3 == 0 else [""] * len(names))
            axis.set_ylim(len(names) - 0.4, -0.6)  # the first on top
            axis.grid(visible=False, axis="y")
            axis.xaxis.set_major_locator(MaxNLocator(5))


def _panel(axis: Axes, summary: Summary, figure: str, is_score: bool) -> None:
    for y, kind in enumerate(summary.kinds):
        spread = summary.spread(kind, figure)
        colour = PALETTE[y % len(PALETTE)]
        if spread is None:
            _say(axis, y, "not measured")
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


def _differences(axis: Axes, summary: Summary) -> str:
    """How far each case is from the first one, on the test split, or else on the validation split; gives the split."""
    first, *others = summary.kinds
    of_first = [one for one in summary.differences if one.first == first]
    split = "test" if any(one.split == "test" for one in of_first) else "val"
    found = {one.second: one for one in of_first if one.split == split}
    axis.axvline(0, color="black", linewidth=0.8)
    for y, kind in enumerate(others, start=1):
        colour = PALETTE[y % len(PALETTE)]
        if kind not in found:
            _say(axis, y, "not paired")
            continue
        one = found[kind]
        face = colour if one.is_real else "white"
        axis.hlines(y, one.found.low, one.found.high, color=colour, linewidth=1.5)
        axis.plot(one.found.value, y, "o", color=colour, markersize=7, markerfacecolor=face)
        axis.annotate(
            f"{one.found.value:+.4f}" if one.found.value else "0",
            (one.found.value, y),
            (0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axis.margins(x=0.2)
    return split


def _say(axis: Axes, y: int, text: str) -> None:
    axis.annotate(
        text, (0, y), (4, 0), ("axes fraction", "data"), "offset points", va="center", fontsize=8, color="#777777"
    )
