"""What a sweep has found: trials.csv, a page in Markdown, and its chart."""

from pathlib import Path

from formwork.escapes import cell, printable
from formwork.files import write_text
from formwork.formats import write_csv
from formwork.text import count, score, table
from formwork.tools.sweep.chart import draw
from formwork.tools.sweep.study import Study, Trial
from formwork.tools.sweep.values import shown

PAGE, TABLE, PICTURE = "sweep.md", "trials.csv", "sweep.png"


def write_results(study: Study, folder: Path) -> None:
    """Write all three; functions of the trials alone."""
    trials, keys = study.trials(), list(study.sweep.space)
    header = ["experiment", "state", study.metric, "epochs", *keys, "reason"]
    write_csv(folder / TABLE, [header, *([cell(value) for value in _row(trial, keys)] for trial in trials)])
    importances = study.importances()
    draw(study, trials, importances, folder / PICTURE)
    write_text(folder / PAGE, _markdown(study, trials, importances))


def _row(trial: Trial, keys: list[str]) -> list[object]:
    values = [trial.values.get(key) for key in keys]
    plain = [value if type(value) in (int, float) else shown(value) for value in values]
    return [trial.name, trial.state, trial.score, trial.epochs, *plain, trial.reason]


def _markdown(study: Study, trials: list[Trial], importances: dict[str, float]) -> str:
    keys, wanted = list(study.sweep.space), study.sweep
    counts = {state: sum(trial.state == state for trial in trials) for state in ("finished", "pruned", "failed")}
    states = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    parts = [
        f"# Sweep {wanted.study}",
        f"{count(len(trials), 'trial')} of {wanted.trials}: {states}. Sampler {wanted.file.sampler}, pruner "
        f"{wanted.file.pruner}, seed {wanted.file.seed}; {study.metric} is to be {'high' if study.higher else 'low'}.",
    ]
    if best := study.best():
        parts.append(
            f"The best is `{best.name}`, with {study.metric} {_score(best)}. `dvc exp apply {best.name}` takes it over."
        )
    parts.append(f"![Scores of the trials, what mattered, and scores by each param]({PICTURE})")
    if importances:
        rows = [[f"`{key}`", f"{share:.0%}"] for key, share in importances.items()]
        parts += ["Share of the variance of the score that a param explains, among finished trials (fANOVA):"]
        parts += [table(["param", "share"], rows)]
    ordered = sorted(trials, key=lambda trial: _rank(trial, study.higher))
    rows = [
        [trial.name, *(shown(trial.values.get(key)) for key in keys), _score(trial), str(trial.epochs), _state(trial)]
        for trial in ordered
    ]
    parts.append(table(["experiment", *(f"`{key}`" for key in keys), study.metric, "epochs", "state"], rows))
    return "\n\n".join(parts) + "\n"


def _rank(trial: Trial, higher: bool) -> tuple[int, float]:
    """The best first; then those that were pruned, and those that failed."""
    order = ("finished", "pruned", "failed").index(trial.state)
    value = trial.score if trial.score is not None else 0.0
    return order, -value if higher else value


def _score(trial: Trial) -> str:
    return "" if trial.score is None else score(trial.score)


def _state(trial: Trial) -> str:
    return f"failed: {printable(trial.reason)}" if trial.state == "failed" else trial.state
