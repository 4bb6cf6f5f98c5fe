"""Search the best values of some params: each trial is a DVC experiment, run in a copy of the workspace."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from formwork.errors import FormworkError
from formwork.files import check_writable
from formwork.folders import Folders
from formwork.git import check_repository, experiments
from formwork.interim.settings import read_settings
from formwork.params import load_params
from formwork.text import count, score
from formwork.tools.experiments.pipeline import Pipeline, Stage, Stages
from formwork.tools.experiments.workspace_copy import copied
from formwork.tools.scores import score_of_task
from formwork.tools.sweep.page import PAGE, write_results
from formwork.tools.sweep.space import Sweep, read_sweep
from formwork.tools.sweep.study import Study
from formwork.tools.sweep.trial import CHECKPOINTS, EVALUATION, PARAMS, link_checkpoints, run_trial, score_in
from formwork.tools.sweep.values import shown
from formwork.yaml import read_yaml


def sweep(file: Path, results: Path) -> None:
    """Run the sweep of a sweep.yaml, or go on with it, in the repository whose root is the current folder.

    Args:
        results: folder for the database of all studies, and for a folder a study.

    Raises:
        FormworkError: there can be no experiments here, `file` or the data cannot be used, or trials fail one after
            the other.
        KeyboardInterrupt: Ctrl-C. The trial that was running goes on when the sweep does.
    """
    check_repository(Path())
    params = load_params()
    wanted = read_sweep(file, params)
    folders, pipeline = Folders.of(params.data.name), Pipeline(Path())
    pipeline.check_data(folders.raw)
    check_writable(results / wanted.study / PAGE)
    study = open_study(wanted, pipeline, folders, results)
    _check_names(study)
    try:
        _run_trials(study, pipeline, folders, results / wanted.study)
    finally:
        if study.trials():
            write_results(study, results / wanted.study)
    best = study.best()
    if best is None or best.score is None:
        print("No trial has finished.")
        return
    print(f"\nBest of {count(len(study.trials()), 'trial')}: {best.name}, {study.metric} {score(best.score)}")
    for key, value in best.values.items():
        print(f"  {key}: {shown(value)}")
    print(f"Take it over: dvc exp apply {best.name}\nAll trials and a chart: {results / wanted.study / PAGE}")


def open_study(wanted: Sweep, pipeline: Pipeline, folders: Folders, results: Path) -> Study:
    """The study of a sweep in this workspace, made or found again.

    Raises:
        FormworkError: see Study; or the metric of the sweep is none.
    """
    metric, higher = _metric(wanted, read_settings(folders.settings).task)
    stages = pipeline.stages(pipeline.needed(read_yaml(Path(PARAMS))))
    return Study(wanted, results, metric, higher, _without(stages, wanted.space))


def _without(stages: Stages, keys: Mapping[str, Any]) -> dict[str, Stage]:
    """The stages without these params: what all trials have in common."""

    def drop(values: Mapping[str, Any], start: str = "") -> dict[str, Any]:
        return {
            name: drop(value, f"{start}{name}.") if isinstance(value, Mapping) else value
            for name, value in values.items()
            if f"{start}{name}" not in keys
        }

    return {name: Stage(stage.cmd, stage.deps, drop(stage.params)) for name, stage in stages.items()}


def _metric(wanted: Sweep, task: str) -> tuple[str, bool]:
    """Name of the score in EVALUATION, and whether a higher one is better.

    Raises:
        FormworkError: it is not known which is better, or there is no such metric.
    """
    usual = score_of_task(task)
    name = wanted.file.metric or f"val_{usual.name}"
    if name != f"val_{usual.name}" and EVALUATION.exists():
        score_in(EVALUATION, name)  # hours before a trial would find it out
    if wanted.file.direction:
        return name, wanted.file.direction == "maximize"
    if name != f"val_{usual.name}":
        raise FormworkError(f"{wanted.path}: set `direction`, maximize or minimize, as it is not known of {name}.")
    return name, usual.higher


def _check_names(study: Study) -> None:
    """Refuse a new study whose experiments would have the names of others.

    Raises:
        FormworkError: with the command that removes those.
    """
    if study.has_begun():
        return
    start = study.experiment("")
    taken = sorted({name for _, name in experiments(Path()) if name.startswith(start) and name[len(start) :].isdigit()})
    if taken:
        raise FormworkError(
            f"There are experiments of another study of this name. Set another `study` in {study.sweep.path}, or "
            f"remove them: dvc exp remove {' '.join(taken)}"
        )


def _run_trials(study: Study, pipeline: Pipeline, folders: Folders, results: Path) -> None:
    wanted, start, failed = study.sweep, time.monotonic(), 0
    if len(study.trials()) >= wanted.trials:
        print(f"All {count(wanted.trials, 'trial')} of the study {wanted.study} have run. For more, raise `trials`.")
        return
    print("Making a copy of the workspace and its data, to run trials in ...", flush=True)
    try:
        with copied(pipeline, folders, "sweep") as copy:
            content = (copy.folder / PARAMS).read_text(encoding="utf-8")
            link_checkpoints(copy)
            while len(study.trials()) < wanted.trials and not _time_is_over(wanted, start):
                failed = 0 if run_trial(copy, study.next(), content, results) else failed + 1
                if failed == wanted.file.failures:
                    last = study.trials()[-1]
                    raise FormworkError(
                        f"{count(failed, 'trial')} failed one after the other, the last with: {last.reason} Mend it, "
                        "and run this again: the sweep goes on with the next trial."
                    )
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on with the trial that was running.", flush=True)
        raise
    shutil.rmtree(CHECKPOINTS, ignore_errors=True)


def _time_is_over(wanted: Sweep, start: float) -> bool:
    hours = wanted.file.hours
    if hours is None or time.monotonic() - start < hours * 3600:
        return False
    print(f"No new trial begins: {hours:g} hours are over.")
    return True
