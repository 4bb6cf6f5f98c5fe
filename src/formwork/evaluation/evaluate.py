"""The evaluate stage: how good a trained model is on the validation split, and where it is wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from formwork.drawing.image_grid import image_grid, to_pixels
from formwork.errors import FormworkError
from formwork.folders import Folders
from formwork.formats import write_csv, write_json
from formwork.interim.settings import Settings
from formwork.loading.base import Batch
from formwork.loading.dtypes import normalise
from formwork.loading.project import ProjectData
from formwork.models.model_file import load_model
from formwork.params import Params


@dataclass(frozen=True)
class Predictions:
    """Of the N validation images, in manifest order.

    Attributes:
        labels, predicted: (N,) int64. losses: (N,) float32 cross-entropies. confidence: (N,) float32, the probability
        that the model gives what it predicts.
    """

    labels: np.ndarray
    predicted: np.ndarray
    losses: np.ndarray
    confidence: np.ndarray


def evaluate(params: Params, folders: Folders, model_file: Path, results: Path) -> None:
    """Write metrics.json, confusion.csv, class_accuracy.csv and worst_mistakes.png into `results`.

    Raises:
        FormworkError: see formwork.errors.
    """
    model, trained_on, _ = load_model(model_file)
    data = ProjectData(params, folders, splits=["val"])
    settings = data.settings
    if trained_on.class_names != settings.class_names:
        raise FormworkError(f"{model_file} was trained on other classes than {settings.name!r} has. Run `dvc repro`.")
    predictions = predict(model, data.loader("val"), data.normal, device(params.trainer.accelerator))
    correct = predictions.labels == predictions.predicted
    by_class = class_accuracy(predictions, len(settings.class_names))
    metrics = {
        "loader": data.loader_used,
        "images": len(correct),
        "accuracy": float(correct.mean()),
        "loss": float(predictions.losses.mean(dtype=np.float64)),
        "mean_class_accuracy": float(np.nanmean(by_class)),
        "worst_class_accuracy": float(np.nanmin(by_class)),
        "worst_class": settings.class_names[int(np.nanargmin(by_class))],
    }
    write_json(results / "metrics.json", metrics)
    names = settings.class_names
    pairs = ((names[a], names[p]) for a, p in zip(predictions.labels, predictions.predicted, strict=True))
    write_csv(results / "confusion.csv", [("actual", "predicted"), *pairs])
    counts = np.bincount(predictions.labels, minlength=len(names))
    table = ((n, f"{a:.6f}", c) for n, a, c in zip(names, by_class, counts, strict=True) if c)
    write_csv(results / "class_accuracy.csv", [("class", "accuracy", "images"), *table])
    _draw_mistakes(results / "worst_mistakes.png", predictions, data, params.evaluate.worst_mistakes)
    print(f"Accuracy {metrics['accuracy']:.4f} on {len(correct)} validation images; see {results}")


def device(accelerator: str) -> torch.device:
    """Where to run: a GPU where trainer.accelerator in params.yaml allows one and there is one."""
    gpu = torch.accelerator.current_accelerator(check_available=True)
    return gpu if gpu is not None and accelerator != "cpu" else torch.device("cpu")


def predict(model: torch.nn.Module, loader: Iterable[Batch], normal: np.ndarray, on: torch.device) -> Predictions:
    """Run the model over the validation split, in float32. With timesteps the last step's answer counts."""
    parts = []
    model.to(on)
    with torch.inference_mode():
        for images, labels in tqdm(loader, desc="evaluate", unit=" batches", mininterval=0.5):
            logits, labels = model(normalise(images.to(on), normal).float()), labels.to(on)
            if labels.dim() == 2:
                logits, labels = logits[:, -1], labels[:, -1]
            losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
            confidence, predicted = logits.softmax(dim=1).max(dim=1)
            parts.append([t.cpu().numpy().copy() for t in (labels, predicted, losses, confidence)])
    return Predictions(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def class_accuracy(predictions: Predictions, classes: int) -> np.ndarray:
    """(classes,) float64, NaN for a class without images."""
    counts = np.bincount(predictions.labels, minlength=classes)
    hits = np.bincount(predictions.labels[predictions.labels == predictions.predicted], minlength=classes)
    return np.divide(hits, counts, out=np.full(classes, np.nan), where=counts > 0)


def _draw_mistakes(path: Path, predictions: Predictions, data: ProjectData, most: int) -> None:
    """The wrongly classified images with the highest loss, as the model saw them."""
    settings: Settings = data.settings
    wrong = np.flatnonzero(predictions.labels != predictions.predicted)
    worst = wrong[np.argsort(-predictions.losses[wrong], kind="stable")][:most]
    wanted = dict.fromkeys(worst.tolist())
    start = 0
    if wanted:
        for images, labels in data.loader("val"):
            if labels.dim() == 2:
                images = images[:, -1]
            for sample in wanted.keys() & set(range(start, start + len(labels))):
                wanted[sample] = to_pixels(images[sample - start : sample - start + 1], settings)[0]
            start += len(labels)
    names, manifest = settings.class_names, data.splits["val"].manifest
    captions = [
        f"{names[predictions.labels[s]]}\ncalled {names[predictions.predicted[s]]} ({predictions.confidence[s]:.0%})\n"
        f"{Path(manifest.rows[s].path).name}"
        for s in worst
    ]
    title = f"{len(wrong)} of {len(predictions.labels)} validation images are wrong"
    if len(worst) < len(wrong):
        title += f": the {len(worst)} with the highest loss"
    image_grid(path, title, list(wanted.values()), captions)
