"""A comparison as a table for people, and as figures for programs."""

from dataclasses import asdict, dataclass
from typing import Any

from formwork.text import columns, count, score, table
from formwork.tools.compare.runs import Run
from formwork.tools.compare.summary import FFCV, PYTORCH, Spread, Summary

PICTURE = "compare.svg"  # in git, as the page is that shows it
EQUAL = 1.005  # a ratio below it is written as 1.00


@dataclass(frozen=True)
class Figure:
    """A row of the table.

    Attributes:
        name: field of Run.
        title: with its unit; of the score it is the metric of the task.
        more, less: what FFCV is beside PyTorch where its value is the larger, or the smaller one.
    """

    name: str
    title: str
    more: str
    less: str


FIGURES = (
    Figure("score", "accuracy", "higher", "lower"),
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
- **Peak memory**: of the training process and all its workers together, without libraries and other mapped files.
- **Conversion**: of both splits, when they were made. It is done once, whatever is trained afterwards, and has paid for
  itself when the epochs have saved as many seconds as it took."""


def lines(summary: Summary) -> list[list[str]]:
    """The table: a line of titles, then one for each figure; a column for each kind of runs, and one for what FFCV is
    beside PyTorch."""
    kinds = summary.kinds
    last = ["FFCV is"] if summary.compares else []
    found = [["", *(_title(summary, kind) for kind in kinds), *last]]
    for figure in FIGURES:
        spreads = {kind: summary.spread(kind, figure.name) for kind in kinds}
        beside = [_beside(figure, spreads[FFCV], spreads[PYTORCH])] if summary.compares else []
        found.append(
            [figure_title(summary, figure), *(_spread(figure, spread) for spread in spreads.values()), *beside]
        )
    seconds = as_text("seconds", summary.conversion_seconds)
    for title, text in (("conversion, s, once", seconds), ("conversion has paid for itself", pay_off(summary))):
        found.append([title, *(text if kind == FFCV else "-" for kind in kinds), *("" for _ in last)])
    return found


def figure_title(summary: Summary, figure: Figure) -> str:
    return summary.metric if figure.name == "score" else figure.title


def text(summary: Summary) -> str:
    """The table in columns for a terminal, and the notes."""
    return "\n".join([columns(lines(summary), numbers=True), *(f"\n{note}" for note in summary.notes())])


def markdown(summary: Summary, command: str) -> str:
    """A page: the table, the notes, what the figures mean, and every run."""
    header, *rows = lines(summary)
    runs = table(
        ["asked for", "loader", "seed", *(figure_title(summary, figure) for figure in FIGURES), "from"],
        [
            [run.case.asked_for, run.loader, run.case.seed]
            + [as_text(figure.name, getattr(run, figure.name)) for figure in FIGURES]
            + [run.source]
            for run in summary.runs
        ],
    )
    parts = [
        f"# FFCV and PyTorch on {summary.dataset}",
        table(header, rows),
        f"![the same as bars, and the seconds of a training with its conversion]({PICTURE})",
        *(f"**{note}**" for note in summary.notes()),
        f"{count(summary.epochs, 'epoch')}; `{command}` on {summary.machine}.",
        MEANING,
        f"## Runs\n\n{runs}",
    ]
    return "\n\n".join(parts) + "\n"


def figures(summary: Summary, command: str) -> dict[str, Any]:
    """All figures, for programs."""
    return {
        "command": command,
        "dataset": summary.dataset,
        "epochs": summary.epochs,
        "machine": summary.machine,
        "conversion_seconds": summary.conversion and dict(summary.conversion),
        "conversion_has_paid_for_itself": pay_off(summary),
        "pays_off_after_epochs": summary.pays_off_after,
        "notes": list(summary.notes()),
        "summary": {
            kind: {
                summary.metric if figure.name == "score" else figure.name: spread and asdict(spread)
                for figure in FIGURES
                for spread in [summary.spread(kind, figure.name)]
            }
            for kind in summary.kinds
        },
        "runs": [_run(run) for run in summary.runs],
    }


def _run(run: Run) -> dict[str, Any]:
    values = {run.metric: run.score, **asdict(run)}
    for name in ("case", "score", "metric"):
        del values[name]
    return {"asked_for": run.case.asked_for, "fell_back": run.fell_back, "seed": run.case.seed, **values}


def pay_off(summary: Summary) -> str:
    """When the conversion has paid for itself, in words."""
    epochs = summary.pays_off_after
    if summary.conversion is None or not summary.compares:
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


def as_text(figure: str, value: float | None) -> str:
    if value is None:
        return "-"
    if figure == "score":
        return score(value)
    if figure == "waiting_share":
        return f"{100 * value:.1f} %"
    digits = next((digits for digits, least in enumerate((100, 10, 1)) if value >= least), 3)
    return f"{value:,.{digits}f}"


def _beside(figure: Figure, ffcv: Spread | None, pytorch: Spread | None) -> str:
    """`2.41 x faster`, for example; nothing where there is no ratio."""
    if ffcv is None or pytorch is None or figure.name == "waiting_share":
        return ""
    word = figure.more if ffcv.median > pytorch.median else figure.less
    if figure.name == "score":
        apart = score(abs(ffcv.median - pytorch.median))
        return "equal" if float(apart) == 0 else f"{apart} {word}"
    small, large = sorted((ffcv.median, pytorch.median))
    if small <= 0:
        return "" if large <= 0 else word
    ratio = large / small
    return "equal" if ratio < EQUAL else f"{ratio:,.{2 if ratio < 10 else 0}f} x {word}"
