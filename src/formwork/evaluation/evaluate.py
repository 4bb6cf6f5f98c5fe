"""The evaluate stage: how good a trained model is on the validation and test splits, and where it is wrong.

Tables and pictures show the validation split: whoever looks at mistakes acts on them, and the test is for nothing to be
chosen by.
"""

import time
from pathlib import Path

import numpy as np

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.evaluation.metrics import metrics
from formwork.evaluation.mistakes import draw_mistakes
from formwork.evaluation.predictions import TITLES, Predictions, device, predict
from formwork.evaluation.predictions_file import write_predictions
from formwork.evaluation.tables import write_tables
from formwork.evaluation.timesteps import write_timesteps
from formwork.files import check_writable
from formwork.folders import Folders
from formwork.formats import write_json
from formwork.interim.settings import Settings, read_settings
from formwork.loading.project import ProjectData
from formwork.models.model_file import load_model
from formwork.params import Params
from formwork.tasks import task_of
from formwork.text import count, score

SHOWN = "val"  # the split of tables and pictures


def evaluate(params: Params, folders: Folders, model_file: Path, results: Path) -> None:
    """Write into `results`: metrics.json, whose names begin with the split; predictions.parquet, for all images; and of
    the validation split the tables of formwork.evaluation.tables and worst_mistakes.png; and timesteps.csv, of both.

    Raises:
        FormworkError: see formwork.errors.
    """
    check_writable(results / "metrics.json")
    start = time.monotonic()
    model, trained_on, model_params = load_model(model_file)
    splits = [split for split in read_settings(folders.settings).splits if split != "train"]
    data = ProjectData(params, folders, splits)
    data.need_betons()
    _check_same(trained_on, data.settings, model_file)
    task, on = task_of(trained_on), device(params.trainer.accelerator)
    found = {split: predict(model, data.loader(split), data.normal, on, task, split) for split in splits}
    for split, predictions in found.items():
        _check_finite(predictions, data, split, model_file)
    values = {split: metrics(predictions, trained_on) for split, predictions in found.items()}
    named = {f"{split}_{name}": value for split, of_split in values.items() for name, value in of_split.items()}
    write_json(results / "metrics.json", {"loader": data.loader_used, **named})
    manifests = {split: data.splits[split].manifest for split in splits}
    write_predictions(results / "predictions.parquet", found, manifests, trained_on)
    write_tables(results, found[SHOWN], trained_on)
    by_step = {split: predictions.by_step for split, predictions in found.items()}
    write_timesteps(results / "timesteps.csv", model_params.shown, by_step)
    draw_mistakes(results / "worst_mistakes.png", found[SHOWN], data, trained_on, SHOWN)
    scores = [
        f"{score(of_split[task.score])} on {count(of_split['images'], f'{TITLES[split]} image')}"
        for split, of_split in values.items()
    ]
    title = task.score_title.capitalize() if task.score_title.islower() else task.score_title
    print(f"{title} {', '.join(scores)}, in {time.monotonic() - start:.1f} s: {results}")


def _check_same(trained_on: Settings, settings: Settings, model_file: Path) -> None:
    """Raise FormworkError if a model was trained to predict something else."""
    if trained_on.task != settings.task or trained_on.target_names != settings.target_names:
        raise FormworkError(
            f"{model_file} was trained to predict something else than the targets of {settings.name!r}. Run "
            "`dvc repro`."
        )
    if trained_on.class_names != settings.class_names:
        raise FormworkError(f"{model_file} was trained on other classes than {settings.name!r} has. Run `dvc repro`.")


def _check_finite(predictions: Predictions, data: ProjectData, split: str, model_file: Path) -> None:
    """Raise FormworkError if the model's answers are nan or infinite: no metric would mean anything."""
    wrong = np.flatnonzero(~np.isfinite(predictions.losses))
    if len(wrong):
        path = printable(data.splits[split].manifest.paths[wrong[0]])
        raise FormworkError(
            f"{model_file} gives no finite answer for {count(len(wrong), f'{TITLES[split]} image')} of "
            f"{len(predictions):,}, {path} for one. Lower train.lr or the number of timesteps, "
            "and train again: `dvc repro`."
        )
