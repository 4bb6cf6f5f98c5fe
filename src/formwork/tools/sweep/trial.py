"""One trial: its training and evaluation as a DVC experiment, watched while it runs."""

import csv
import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path

from formwork.errors import FormworkError, did_you_mean
from formwork.files import write_text
from formwork.params import load_params
from formwork.text import score
from formwork.tools.experiments.edit import with_values
from formwork.tools.experiments.workspace_copy import Copy
from formwork.tools.sweep.study import Running, Study
from formwork.tools.sweep.values import shown

PARAMS = "params.yaml"
TARGET = "evaluate"  # the stage that a trial ends with
EVALUATION = Path("results/evaluate/metrics.json")
CURVES = Path("results/train/plots/metrics")
STARTED = b"Running stage 'train':"  # DVC has taken away the curves of the trial before
CHECKPOINTS = Path(".dvc/tmp/sweep-checkpoints")
"""Where trainings in the copy, which goes away, write their checkpoints."""


class Pruned(Exception):
    """The running trial is not worth more of its time."""


def run_trial(copy: Copy, trial: Running, content: str, logs: Path) -> bool:
    """Run a trial to its end, and tell the study; gives False where it failed.

    Args:
        content: of params.yaml in the copy, without the values of any trial.
        logs: folder for what a failed trial printed.
    """
    values = ", ".join(f"{key} {shown(value)}" for key, value in trial.values.items())
    print(f"{trial.name}{' goes on' if trial.goes_on else ''}: {values}", flush=True)
    try:
        result = _result(copy, trial, content)
    except Pruned:
        trial.prune()
        print("  pruned", flush=True)
    except FormworkError as error:
        log = copy.log(trial.name)
        reason = _reason(log, error)
        trial.fail(reason)
        print(f"  failed: {reason}", flush=True)
        if log.exists():
            logs.mkdir(parents=True, exist_ok=True)
            print(f"  all that it printed: {shutil.copyfile(log, logs / log.name)}", flush=True)
        _remove_checkpoints()
        return False
    else:
        copy.keep(trial.name)
        trial.finish(result)
        print(f"  {trial.study.metric} {score(result)}", flush=True)
    _remove_checkpoints()
    return True


def link_checkpoints(copy: Copy) -> None:
    """Let trainings in the copy write their checkpoints where they outlive it, and a killed sweep finds them."""
    CHECKPOINTS.mkdir(parents=True, exist_ok=True)
    models = copy.folder / "models"
    models.mkdir(exist_ok=True)
    (models / ".resume").symlink_to(CHECKPOINTS.absolute())


def _remove_checkpoints() -> None:
    """Of a trial that has ended: none runs now."""
    for path in CHECKPOINTS.glob("*.ckpt"):
        path.unlink(missing_ok=True)


def score_in(path: Path, name: str) -> float:
    """A metric of results/evaluate/metrics.json.

    Raises:
        FormworkError: the file cannot be read, or has no such number; with the nearest that it has.
    """
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormworkError(f"{path} cannot be read: {error}.") from error
    numbers = {key: value for key, value in evaluation.items() if isinstance(value, (int, float))}
    if name not in numbers:
        near = did_you_mean(name, [key for key in evaluation if key.startswith("val_")])
        raise FormworkError(f"{name} is no number that `evaluate` writes for this dataset and model. {near}")
    return float(numbers[name])


def _result(copy: Copy, trial: Running, content: str) -> float:
    """The score of the best epoch.

    Raises:
        Pruned: it was ended before.
        FormworkError: it failed.
    """
    epochs = load_params(overrides=trial.values).trainer.max_epochs
    write_text(copy.folder / PARAMS, with_values(content, trial.values))
    log, study = copy.log(trial.name), trial.study
    log.unlink(missing_ok=True)

    def look() -> None:
        if log.exists() and STARTED in log.read_bytes() and trial.prunes(_curve(copy.folder, study), epochs):
            raise Pruned

    copy.run(trial.name, TARGET, meanwhile=look)
    if trial.prunes(_curve(copy.folder, study), epochs):  # as a slower training would have been
        raise Pruned
    result = score_in(copy.folder / EVALUATION, study.metric)
    if not isfinite(result):
        raise FormworkError(f"{study.metric} is {result}.")
    return result


def _curve(folder: Path, study: Study) -> Mapping[int, float]:
    """The metric by epoch, as DVCLive has it up to now; empty where it has none of this metric."""
    path = folder / CURVES / "val" / f"{study.metric.removeprefix('val_')}.tsv"
    curve: dict[int, float] = {}
    with suppress(OSError), path.open(encoding="utf-8", newline="") as file:  # not there yet
        for row in csv.reader(file, delimiter="\t"):
            with suppress(ValueError):  # the header, or a line that is half written
                step, value = row
                curve[int(step)] = float(value)
    return curve


def _reason(log: Path, error: FormworkError) -> str:
    """Why a trial failed, in one line: the first error in its log, or else that of the tool."""
    with suppress(OSError):  # it had not begun
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [number for number, line in enumerate(lines) if line.startswith("ERROR: ")]
        if found:
            more = [line.strip() for line in lines[found[0] + 1 : found[0] + 3] if line.startswith("  ")]
            return " ".join([lines[found[0]].removeprefix("ERROR: "), *more])
    return " ".join(line.strip() for line in str(error).splitlines() if "takes it back" not in line)
