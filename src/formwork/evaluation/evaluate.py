"""The evaluate stage: how good a trained model is on the validation and test splits, and where it is wrong.

Tables and pictures show the validation split: whoever looks at mistakes acts on them, and the test is for nothing to be
chosen by.
"""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch

from formwork.evaluation.assess import Assessment, Bootstrap, assess
from formwork.evaluation.bootstrap import units_of
from formwork.evaluation.charts import draw_errors, draw_reliability, draw_robustness
from formwork.evaluation.checks import check_finite, check_same
from formwork.evaluation.corruptions import Corrupted, Corruption
from formwork.evaluation.groups import write_groups
from formwork.evaluation.metrics_file import with_interval, write_metrics
from formwork.evaluation.mistakes import draw_mistakes
from formwork.evaluation.predictions import TITLES, Predictions, device, predict
from formwork.evaluation.predictions_file import write_predictions
from formwork.evaluation.robustness import Robustness, corruptions, write_robustness
from formwork.evaluation.tables import write_parts, write_plots, write_reliability
from formwork.evaluation.timesteps import write_timesteps
from formwork.files import check_writable
from formwork.folders import Folders
from formwork.images.manifest import Manifest
from formwork.interim.settings import Settings, read_settings
from formwork.loading.project import ProjectData
from formwork.models.model_file import TrainedModel, load_model
from formwork.params import Params
from formwork.tasks import task_of
from formwork.text import count

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
    check_same(settings, data.settings, model_file)
    _warn_of_mirrors(params, settings)
    on, mirrored = device(params.trainer.accelerator), params.evaluate.tta == "flip"
    manifests = {split: data.splits[split].manifest for split in splits}
    found = {}
    for split in splits:
        found[split] = predict(trained, data.loader(split, device=on), on, split, mirrored)
        check_finite(found[split], manifests[split], f"{TITLES[split]} image", model_file)
    loader_used = data.loader_used
    bootstraps = {split: Bootstrap(params.evaluate.bootstrap, params.evaluate.seed, split) for split in splits}
    assessed, spoilt = {}, {}
    for split in splits:
        units = units_of(manifests[split])
        assessed[split] = assess(found[split], settings, units, bootstraps[split])
        if params.evaluate.severities:
            each = (
                (corruption, assess(predictions, settings, units, bootstraps[split]))
                for corruption, predictions in _on_spoilt(trained, data, split, on, model_file)
            )
            spoilt[split] = Robustness.of(task_of(settings).score, assessed[split], each)
    write_predictions(results / "predictions.parquet", found, manifests, settings)
    _write_tables(results / "tables", found, assessed, spoilt, manifests, settings, bootstraps)
    _draw_charts(results / "charts", found[SHOWN], assessed[SHOWN], spoilt, settings)
    by_step = {split: predictions.by_step for split, predictions in found.items()}
    write_timesteps(results / "timesteps.csv", trained.params.shown, by_step)
    write_plots(results, found[SHOWN], assessed[SHOWN], settings)
    draw_mistakes(results / "worst_mistakes.png", found[SHOWN], data, settings, SHOWN)
    write_metrics(results / "metrics.json", loader_used, assessed, settings, spoilt)
    task = task_of(settings)
    scores = [
        f"{with_interval(one, task.score)} on {count(one.images, f'{TITLES[split]} image')}"
        for split, one in assessed.items()
    ]
    title = task.score_title.capitalize() if task.score_title.islower() else task.score_title
    print(f"{title} {', '.join(scores)}, in {time.monotonic() - start:.1f} s: {results}")


def _on_spoilt(
    trained: TrainedModel, data: ProjectData, split: str, on: torch.device, model_file: Path
) -> Iterator[tuple[Corruption, Predictions]]:
    """What the model answers for each corruption and severity, one after the other, for they are large."""
    mirrored = data.params.evaluate.tta == "flip"
    loader, settings = data.loader(split, dtype="uint8"), data.params.evaluate
    for corruption in corruptions(settings.severities, settings.seed):
        spoilt = Corrupted(loader, corruption, data.normal, data.params.data.dtype)
        predictions = predict(trained, spoilt, on, f"{split}, {corruption}", mirrored)
        check_finite(predictions, data.splits[split].manifest, f"{corruption} {TITLES[split]} image", model_file)
        yield corruption, predictions


def _write_tables(
    folder: Path,
    found: Mapping[str, Predictions],
    assessed: Mapping[str, Assessment],
    spoilt: Mapping[str, Robustness],
    manifests: Mapping[str, Manifest],
    settings: Settings,
    bootstraps: Mapping[str, Bootstrap],
) -> None:
    write_parts(folder, assessed, settings)
    if settings.task != "regression":
        write_reliability(folder / "reliability.csv", assessed)
    if manifests[SHOWN].groups is not None:
        write_groups(folder / "groups.csv", found, manifests, settings, bootstraps)
    if spoilt:
        write_robustness(folder / "robustness.csv", spoilt)


def _draw_charts(
    folder: Path,
    predictions: Predictions,
    assessment: Assessment,
    spoilt: Mapping[str, Robustness],
    settings: Settings,
) -> None:
    """There is one for any task: DVC complains of an empty folder of plots.

    Args:
        predictions, assessment: of SHOWN.
    """
    if settings.task == "regression":
        draw_errors(folder / "errors.png", predictions, settings)
    else:
        draw_reliability(folder / "reliability.png", assessment, f"{TITLES[SHOWN]} images")
    if spoilt:
        titles = {split: f"{TITLES[split]} images" for split in spoilt}
        draw_robustness(
            folder / "robustness.png", spoilt, titles, task_of(settings).score_title, settings.task != "regression"
        )


def _warn_of_mirrors(params: Params, trained_on: Settings) -> None:
    operations = [name for operation in trained_on.augment_train for name in operation]
    if params.evaluate.tta == "flip" and not any("flip" in name.lower() for name in operations):
        print(
            "WARNING: evaluate.tta: flip shows the model mirror images, and augment.train has no RandomHorizontalFlip: "
            "it was trained on none. Where a mirror image is something else, as with digits, it does worse by that."
        )
