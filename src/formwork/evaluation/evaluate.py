"""The evaluate stage: how good a trained model is on the validation split, and where it is wrong."""

import time
from pathlib import Path

import numpy as np

from formwork.drawing.image_grid import image_grid, to_pixels
from formwork.errors import FormworkError
from formwork.escapes import cell, printable
from formwork.evaluation.metrics import class_accuracy, metrics
from formwork.evaluation.predictions import Predictions, device, predict
from formwork.files import check_writable
from formwork.folders import Folders
from formwork.formats import write_csv, write_json
from formwork.loading.project import ProjectData
from formwork.models.model_file import load_model
from formwork.params import Params
from formwork.text import count


def evaluate(params: Params, folders: Folders, model_file: Path, results: Path) -> None:
    """Write metrics.json, confusion.csv, class_accuracy.csv and worst_mistakes.png into `results`.

    Raises:
        FormworkError: see formwork.errors.
    """
    check_writable(results / "metrics.json")
    start = time.monotonic()
    model, trained_on, _ = load_model(model_file)
    data = ProjectData(params, folders, splits=["val"])
    names = data.settings.class_names
    if trained_on.class_names != names:
        raise FormworkError(
            f"{model_file} was trained on other classes than {data.settings.name!r} has. Run `dvc repro`."
        )
    predictions = predict(model, data.loader("val"), data.normal, device(params.trainer.accelerator))
    _check_finite(predictions, data, model_file)
    values = metrics(predictions, names)
    write_json(results / "metrics.json", {"loader": data.loader_used, **values})
    _write_tables(results, predictions, names)
    _draw_mistakes(results / "worst_mistakes.png", predictions, data, params.evaluate.worst_mistakes)
    seconds = time.monotonic() - start
    print(f"Accuracy {values['accuracy']:.4f} on {values['images']} validation images in {seconds:.1f} s: {results}")


def _check_finite(predictions: Predictions, data: ProjectData, model_file: Path) -> None:
    """Raise FormworkError if the model's answers are nan or infinite: no metric would mean anything."""
    wrong = np.flatnonzero(~np.isfinite(predictions.losses))
    if len(wrong):
        path = printable(data.splits["val"].manifest.rows[wrong[0]].path)
        raise FormworkError(
            f"{model_file} gives no finite answer for {count(len(wrong), 'validation image')} of "
            f"{len(predictions.losses):,}, {path} for one. Lower train.lr or model.timesteps, and train again: "
            "`dvc repro`."
        )


def _write_tables(results: Path, predictions: Predictions, names: list[str]) -> None:
    pairs = ((names[a], names[p]) for a, p in zip(predictions.labels, predictions.predicted, strict=True))
    write_csv(results / "confusion.csv", [("actual", "predicted"), *(map(cell, pair) for pair in pairs)])
    counts = np.bincount(predictions.labels, minlength=len(names))
    by_class = class_accuracy(predictions, len(names))
    rows = ((cell(n), f"{a:.6f}", c) for n, a, c in zip(names, by_class, counts, strict=True) if c)
    write_csv(results / "class_accuracy.csv", [("class", "accuracy", "images"), *rows])


def _draw_mistakes(path: Path, predictions: Predictions, data: ProjectData, most: int) -> None:
    """Draw up to `most` wrongly classified images, those with the highest loss, as the model saw them."""
    wrong = np.flatnonzero(~predictions.correct)
    worst = wrong[np.argsort(-predictions.losses[wrong], kind="stable")][:most].tolist()
    pixels = _pixels(data, worst)
    names, manifest = list(map(printable, data.settings.class_names)), data.splits["val"].manifest
    captions = [
        f"{names[predictions.labels[s]]}\ncalled {names[predictions.predicted[s]]} ({predictions.confidence[s]:.0%})\n"
        f"{printable(Path(manifest.rows[s].path).name)}"
        for s in worst
    ]
    title = f"{len(wrong)} of {len(predictions.labels)} validation images are wrong"
    if len(worst) < len(wrong):
        title += f": the {len(worst)} with the highest loss"
    image_grid(path, title, [pixels[sample] for sample in worst], captions)


def _pixels(data: ProjectData, samples: list[int]) -> dict[int, np.ndarray]:
    """(S, S, 3) uint8 of each of these validation images, by its sample id."""
    found: dict[int, np.ndarray] = {}
    if not samples:
        return found
    start = 0
    for images, labels in data.loader("val"):
        if labels.dim() == 2:
            images = images[:, -1]
        for sample in set(samples) & set(range(start, start + len(labels))):
            found[sample] = to_pixels(images[sample - start : sample - start + 1], data.settings)[0]
        start += len(labels)
    return found
