"""The chart of a sweep: scores in the order of the trials, what mattered, and scores by each param."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from formwork.drawing.charts import COLOURS, OTHERS, chart
from formwork.drawing.text import cut
from formwork.escapes import printable
from formwork.text import width
from formwork.tools.sweep.space import Choices, Domain
from formwork.tools.sweep.study import Study, Trial
from formwork.tools.sweep.values import shown

FINISHED, BEST, PRUNED = COLOURS["FFCV"], OTHERS[2], COLOURS["limit"]
COLUMNS = 3
TICKS = 8
LABEL = 22  # characters of a name beside an axis


def draw(study: Study, trials: Sequence[Trial], importances: Mapping[str, float], path: Path) -> None:
    """Write an .svg or .png.

    Args:
        importances: share of the variance by param; none where it is not known.

    Raises:
        FormworkError: `path` cannot be written.
    """
    space, scored = study.sweep.space, [trial for trial in trials if trial.score is not None]
    panels = 2 + len(space)
    with chart(path, rows=-(-panels // COLUMNS), columns=COLUMNS, size=(3.9, 3.0)) as axes:
        history, what_mattered, *slices = axes
        _history(history, study, scored)
        _importances(what_mattered, importances)
        for axis, (key, domain) in zip(slices, space.items(), strict=False):
            _slice(axis, study, scored, key, domain)
        for axis in axes[panels:]:
            axis.set_axis_off()


def _history(axis: Axes, study: Study, trials: Sequence[Trial]) -> None:
    for state, colour, marker in (("finished", FINISHED, "o"), ("pruned", PRUNED, "x")):
        some = [trial for trial in trials if trial.state == state]
        if some:
            scores = [trial.score or 0.0 for trial in some]
            label = state if state == "finished" else "pruned, at its last epoch"
            axis.scatter([trial.number for trial in some], scores, 18, colour, marker=marker, label=label, zorder=3)
    finished = [trial for trial in trials if trial.state == "finished"]
    if finished:
        best = accumulate((trial.score or 0.0 for trial in finished), max if study.higher else min)
        axis.step(
            [t.number for t in finished], list(best), where="post", color=BEST, linewidth=1.2, label="best so far"
        )
    if axis.get_legend_handles_labels()[0]:
        axis.figure.legend(loc="outside upper center", ncols=3)
    axis.set(title=f"{study.metric} by trial", xlabel="trial")
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))


def _importances(axis: Axes, importances: Mapping[str, float]) -> None:
    if not importances:
        axis.set_axis_off()
        axis.set_title("what mattered")
        axis.text(0.5, 0.5, "too few finished trials to say", ha="center", va="center", fontsize=9, color="#777777")
        return
    least_first = list(importances.items())[::-1]
    names = [_short(key) for key, _ in least_first]
    shares = [100 * share for _, share in least_first]
    bars = axis.barh(range(len(names)), shares, 0.6, color=FINISHED)
    axis.bar_label(bars, fmt="{:.0f} %", padding=3, fontsize=8)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlim(0, 115)
    axis.set(title="what mattered", xlabel="share of the variance of the score, %")
    axis.grid(visible=False, axis="y")


def _slice(axis: Axes, study: Study, trials: Sequence[Trial], key: str, domain: Domain) -> None:
    names = [_short(shown(value)) for value in domain.values] if isinstance(domain, Choices) else []
    best = study.best()
    for trial in trials:
        value = trial.values[key]
        place = domain.values.index(value) if isinstance(domain, Choices) else value
        is_best = best is not None and trial.number == best.number
        finished = trial.state == "finished"
        colour = BEST if is_best else FINISHED if finished else PRUNED
        size, marker, order = (40 if is_best else 18), ("o" if finished else "x"), (4 if is_best else 3)
        axis.scatter(place, trial.score or 0.0, size, colour, marker=marker, zorder=order, alpha=1 if is_best else 0.75)
    if isinstance(domain, Choices):
        slanted = sum(map(width, names)) > LABEL
        axis.set_xticks(range(len(names)), names, rotation=30 if slanted else 0, ha="right" if slanted else "center")
        axis.set_xlim(-0.6, len(names) - 0.4)
    elif domain.log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    elif domain.whole and len(domain.grid()) <= TICKS:
        axis.set_xticks(domain.grid())
    elif domain.whole:
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axis.set(title=f"by {_short(key)}", ylabel=study.metric)


def _short(name: str) -> str:
    return cut(printable(name), LABEL, width)
