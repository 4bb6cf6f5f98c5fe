"""The evaluate stage: how good a trained model is on the validation and test splits, and where it is wrong.

Tables and pictures show the validation split: whoever looks at mistakes acts on them, and the test is for nothing to be
chosen by.
"""

import time
from pathlib import Path

import numpy as np

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.evaluation.assess import Assessment, Bootstrap, assess
from formwork.evaluation.bootstrap import units_of
from formwork.evaluation.charts import draw_reliability
from formwork.evaluation.groups import write_groups
from formwork.evaluation.metrics_file import write_metrics
from formwork.evaluation.mistakes import draw_mistakes
from formwork.evaluation.predictions import TITLES, Predictions, device, predict
from formwork.evaluation.predictions_file import write_predictions
from formwork.evaluation.tables import write_parts, write_plots, write_reliability
from formwork.evaluation.timesteps import write_timesteps
from formwork.files import check_writable
from formwork.folders import Folders
from formwork.images.manifest import Manifest
from formwork.interim.settings import Settings, read_settings
from formwork.loading.project import ProjectData
from formwork.models.model_file import load_model
from formwork.params import Params
from formwork.tasks import task_of
from formwork.text import count, score

SHOWN = "val"  # the split of tables and pictures


def evaluate(params: Params, folders: Folders, model_file: Path, results: Path) -> None:
    """Write into `results`: metrics.json, whose names begin with the split; predictions.parquet, for all images; the
    folder tables and timesteps.csv, of all splits; and of the validation split the tables of
    formwork.evaluation.tables.HEADERS, the folder charts, and worst_mistakes.png.

    Raises:
        FormworkError: see formwork.errors.
    """
    check_writable(results / "metrics.json")
    start = time.monotonic()
    trained = load_model(model_file)
    settings = trained.settings
    splits = [split for split in read_settings(folders.settings).splits if split != "train"]
    data = ProjectData(params, folders, splits)
    data.need_betons()
    _check_same(settings, data.settings, model_file)
    on = device(params.trainer.accelerator)
    found = {split: predict(trained, data.loader(split), on, split) for split in splits}
    manifests = {split: data.splits[split].manifest for split in splits}
    for split, predictions in found.items():
        _check_finite(predictions, manifests[split], split, model_file)
    write_predictions(results / "predictions.parquet", found, manifests, settings)
    bootstraps = {split: Bootstrap(params.evaluate.bootstrap, params.evaluate.seed, split) for split in splits}
    assessed = {
        split: assess(predictions, settings, units_of(manifests[split]), bootstraps[split])
        for split, predictions in found.items()
    }
    tables, charts = results / "tables", results / "charts"
    write_parts(tables, assessed, settings)
    charts.mkdir(parents=True, exist_ok=True)  # an out that DVC misses otherwise
    if settings.task != "regression":
        write_reliability(tables / "reliability.csv", assessed)
        draw_reliability(charts / "reliability.png", assessed[SHOWN], f"{TITLES[SHOWN]} images")
    if manifests[SHOWN].groups is not None:
        write_groups(tables / "groups.csv", found, manifests, settings, bootstraps)
    by_step = {split: predictions.by_step for split, predictions in found.items()}
    write_timesteps(results / "timesteps.csv", trained.params.shown, by_step)
    write_plots(results, found[SHOWN], assessed[SHOWN], settings)
    draw_mistakes(results / "worst_mistakes.png", found[SHOWN], data, settings, SHOWN)
    images = {split: len(predictions) for split, predictions in found.items()}
    write_metrics(results / "metrics.json", data.loader_used, assessed, images, settings)
    scores = [
        f"{_score(one, settings)} on {count(images[split], f'{TITLES[split]} image')}"
        for split, one in assessed.items()
    ]
    title = task_of(settings).score_title
    title = title.capitalize() if title.islower() else title
    print(f"{title} {', '.join(scores)}, in {time.monotonic() - start:.1f} s: {results}")


def _score(assessment: Assessment, settings: Settings) -> str:
    """ "0.9661 (0.939 to 0.989)" """
    name = task_of(settings).score
    ends = assessment.intervals.get(name)
    text = score(assessment.metrics[name])
    return text if ends is None or np.isnan(ends).any() else f"{text} ({score(ends[0])} to {score(ends[1])})"


def _check_same(trained_on: Settings, settings: Settings, model_file: Path) -> None:
    """Raise FormworkError if a model was trained to predict something else."""
    if trained_on.task != settings.task or trained_on.target_names != settings.target_names:
        raise FormworkError(
            f"{model_file} was trained to predict something else than the targets of {settings.name!r}. Run "
            "`dvc repro`."
        )
    if trained_on.class_names != settings.class_names:
        raise FormworkError(f"{model_file} was trained on other classes than {settings.name!r} has. Run `dvc repro`.")


def _check_finite(predictions: Predictions, manifest: Manifest, split: str, model_file: Path) -> None:
    """Raise FormworkError if the model's answers are nan or infinite: no metric would mean anything."""
    wrong = np.flatnonzero(~np.isfinite(predictions.losses))
    if len(wrong):
        path = printable(manifest.paths[wrong[0]])
        raise FormworkError(
            f"{model_file} gives no finite answer for {count(len(wrong), f'{TITLES[split]} image')} of "
            f"{len(predictions):,}, {path} for one. Lower train.lr or the number of timesteps, "
            "and train again: `dvc repro`."
        )
