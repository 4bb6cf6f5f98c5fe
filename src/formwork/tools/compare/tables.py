"""A comparison as a table for people, and as figures for programs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from formwork.text import columns, score, table
from formwork.tools.compare.runs import Run
from formwork.tools.compare.summary import FFCV, OF_EVERY_MACHINE, Spread, Summary

PICTURE = "compare.svg"  # in git, as the page is that shows it
EQUAL = 1.005  # a ratio below it is written as 1.00


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    Attributes:
        name: field of Run.
        title: with its unit; {metric}: that of the task.
        more, less: what the first kind is beside the second where its value is the larger, or the smaller one.
    """

    name: str
    title: str
    more: str
    less: str


FIGURES = (
    Figure("score", "{metric}", "higher", "lower"),
    Figure("test_score", "{metric} on test", "higher", "lower"),
    Figure("seconds", "an epoch, s", "slower", "faster"),
    Figure("images_per_second", "images/s", "more", "less"),
    Figure("waiting_seconds", "waiting for data, s an epoch", "more", "less"),
    Figure("waiting_share", "share of an epoch spent waiting", "more", "less"),
    Figure("first_batch_seconds", "time to first batch, s", "slower", "faster"),
    Figure("peak_memory_mb", "peak memory, MB", "more", "less"),
)
MEANING = """\
- **An epoch**, images/s and waiting: of the training part, without validation; of the epoch of median length after the
  first.
- **Time to first batch**: until both the validation loader and the training loader have given one; their making, and
  the start of threads or processes, included.
- **Peak memory**: of the training process and all its workers together, without libraries and other mapped files."""
OF_CONVERSION = """\
- **Conversion**: of both splits, when they were made. It is done once, whatever is trained afterwards, and has paid for
  itself when the epochs have saved as many seconds as it took."""


def lines(summary: Summary) -> list[list[str]]:
    """The table: a line of titles, then one for each figure; a column for each kind of runs, and where there are two of
    them one for what the first is beside the second."""
    kinds, pair = summary.kinds, summary.pair
    found = [["", *(_title(summary, kind) for kind in kinds), *([f"{pair[0]} is"] if pair else [])]]
    for figure in _figures(summary):
        spreads = {kind: summary.spread(kind, figure.name) for kind in kinds}
        beside = [_beside(figure, *(spreads[kind] for kind in pair))] if pair else []
        found.append(
            [figure_title(summary, figure), *(_spread(figure, spread) for spread in spreads.values()), *beside]
        )
    if summary.of_loaders:
        seconds = as_text("seconds", summary.conversion_seconds)
        for title, text in (("conversion, s, once", seconds), ("conversion has paid for itself", pay_off(summary))):
            found.append([title, *(text if kind == FFCV else "-" for kind in kinds), *([""] if pair else [])])
    return found


def _figures(summary: Summary) -> list[Figure]:
    """Those that there are: a dataset need not have a test split."""
    tested = any(run.test_score is not None for run in summary.runs)
    return [figure for figure in FIGURES if figure.name != "test_score" or tested]


def figure_title(summary: Summary, figure: Figure) -> str:
    return figure.title.format(metric=summary.metric)


def text(summary: Summary) -> str:
    """The table in columns for a terminal, the verdicts on the scores, and the notes."""
    sentences = [*summary.verdicts(), *summary.notes()]
    return "\n".join([columns(lines(summary), numbers=True), *(f"\n{sentence}" for sentence in sentences)])


def markdown(summary: Summary, command: str) -> str:
    """A page: the table, the notes, what the figures mean, and every run."""
    header, *rows = lines(summary)
    runs = table(
        ["case", "loader", "seed", *(figure_title(summary, figure) for figure in _figures(summary)), "from"],
        [
            [run.case.name, run.loader, run.case.seed]
            + [_of_run(run, figure) for figure in _figures(summary)]
            + [run.source]
            for run in summary.runs
        ],
    )
    parts = [
        f"# {_heading(summary)} on {summary.dataset}",
        table(header, rows),
        f"![the same as a picture]({PICTURE})",
        *(_list(summary.verdicts()),) * bool(summary.differences),
        *(f"**{note}**" for note in summary.notes()),
        f"{summary.epochs_in_words}; `{command}` on {summary.machine}.",
        f"{MEANING}\n{OF_CONVERSION}" if summary.of_loaders else MEANING,
        f"## Runs\n\n{runs}",
    ]
    return "\n\n".join(parts) + "\n"


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def _heading(summary: Summary) -> str:
    if summary.of_loaders:
        return "FFCV and PyTorch"
    *first, last = (case.name for case in summary.cases)
    return f"{', '.join(first)} and {last}"


def figures(summary: Summary, command: str) -> dict[str, Any]:
    """All figures, for programs."""
    return {
        "command": command,
        "dataset": summary.dataset,
        "cases": {case.name: list(case.settings) for case in summary.cases},
        "epochs": summary.epochs,
        "machine": summary.machine,
        "conversion_seconds": summary.conversion and dict(summary.conversion),
        "conversion_has_paid_for_itself": pay_off(summary),
        "pays_off_after_epochs": summary.pays_off_after,
        "differences": [difference.figures for difference in summary.differences],
        "verdicts": list(summary.verdicts()),
        "notes": list(summary.notes()),
        "summary": {
            kind: {
                _name(figure, summary.metric): spread and asdict(spread)
                for figure in FIGURES
                for spread in [summary.spread(kind, figure.name)]
            }
            for kind in summary.kinds
        },
        "runs": [_run(run) for run in summary.runs],
    }


def _name(figure: Figure, metric: str) -> str:
    return {"score": metric, "test_score": f"test_{metric}"}.get(figure.name, figure.name)


def _run(run: Run) -> dict[str, Any]:
    values = asdict(replace(run, case=None))  # type: ignore[arg-type]  # it would be copied, with all params
    del values["case"], values["metric"]
    scores = {run.metric: values.pop("score"), f"test_{run.metric}": values.pop("test_score")}
    about = {"case": run.case.name, "asked_for": run.case.asked_for, "fell_back": run.fell_back, "seed": run.case.seed}
    return {**about, **scores, **values}


def pay_off(summary: Summary) -> str:
    """When the conversion has paid for itself, in words."""
    epochs = summary.pays_off_after
    if summary.conversion is None or not summary.compares_loaders:
        return "-"
    if epochs is None:
        return "never"
    if epochs == 1:
        return "from the first epoch"
    return f"after {epochs:,} epochs" + (f", not in {summary.epochs:,}" if epochs > summary.epochs else "")


def _title(summary: Summary, kind: str) -> str:
    runs = summary.of(kind)
    return kind if len(runs) == 1 else f"{kind}, {len(runs)} runs"


def _spread(figure: Figure, spread: Spread | None) -> str:
    if spread is None:
        return "-"
    median, low, high = (as_text(figure.name, value) for value in (spread.median, spread.low, spread.high))
    return median if low == high else f"{median} ({low} to {high})"


def _of_run(run: Run, figure: Figure) -> str:
    return as_text(figure.name, getattr(run, figure.name) if run.here or figure.name in OF_EVERY_MACHINE else None)


def as_text(figure: str, value: float | None) -> str:
    if value is None:
        return "-"
    if figure in OF_EVERY_MACHINE:
        return score(value)
    if figure == "waiting_share":
        return f"{100 * value:.1f} %"
    digits = next((digits for digits, least in enumerate((100, 10, 1)) if value >= least), 3)
    return f"{value:,.{digits}f}"


def _beside(figure: Figure, first: Spread | None, second: Spread | None) -> str:
    """`2.41 x faster`, for example; nothing where there is no ratio."""
    if first is None or second is None or figure.name == "waiting_share":
        return ""
    word = figure.more if first.median > second.median else figure.less
    if figure.name in OF_EVERY_MACHINE:
        apart = score(abs(first.median - second.median))
        return "equal" if float(apart) == 0 else f"{apart} {word}"
    small, large = sorted((first.median, second.median))
    if small <= 0:
        return "" if large <= 0 else word
    ratio = large / small
    return "equal" if ratio < EQUAL else f"{ratio:,.{2 if ratio < 10 else 0}f} x {word}"
