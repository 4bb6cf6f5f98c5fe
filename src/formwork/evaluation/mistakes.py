"""The picture of the worst mistakes: the images as the model saw them, what they are, and what it took them for."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from formwork.drawing.image_grid import image_grid, to_pixels
from formwork.escapes import printable
from formwork.evaluation.predictions import TITLES, Predictions
from formwork.interim.settings import Settings
from formwork.loading.project import ProjectData
from formwork.text import count

NAMED = 4  # labels that a caption lists


def draw_mistakes(path: Path, predictions: Predictions, data: ProjectData, settings: Settings, split: str) -> None:
    """Draw the wrong images with the highest loss, as many as evaluate.worst_mistakes says.

    Args:
        settings: that the model was trained with.
    """
    wrong = np.flatnonzero(_wrong(predictions, settings))
    most = data.params.evaluate.worst_mistakes
    worst = wrong[np.argsort(-predictions.losses[wrong], kind="stable")][:most].tolist()
    pixels = _pixels(data, split, worst)
    caption, paths = CAPTIONS[settings.task], data.splits[split].manifest.paths
    captions = [f"{caption(predictions, settings, s)}\n{printable(Path(paths[s]).name)}" for s in worst]
    image_grid(path, _title(predictions, settings, split, len(wrong), len(worst)), list(pixels.values()), captions)


def _wrong(predictions: Predictions, settings: Settings) -> np.ndarray:
    """(N,) bool; numbers are never quite right."""
    if settings.task == "classes":
        return predictions.likeliest != predictions.targets
    if settings.task == "multilabel":
        return np.any(predictions.probable != (predictions.targets > 0.5), axis=1)
    return np.any(predictions.answers != predictions.targets, axis=1)


def _title(predictions: Predictions, settings: Settings, split: str, wrong: int, shown: int) -> str:
    images = count(len(predictions), f"{TITLES[split]} image")
    if settings.task == "regression":
        return f"The largest errors of {images}"
    what = "get a wrong label (+) or lack one (-)" if settings.task == "multilabel" else "are wrong"
    title = f"{wrong:,} of {images} {what}"
    return title if shown == wrong else f"{title}: the {shown} with the highest loss"


def _of_class(predictions: Predictions, settings: Settings, sample: int) -> str:
    names, predicted = settings.class_names, predictions.likeliest[sample]
    called = f"called {printable(names[predicted])} ({predictions.answers[sample, predicted]:.0%})"
    return f"{printable(names[predictions.targets[sample]])}\n{called}"


def _of_labels(predictions: Predictions, settings: Settings, sample: int) -> str:
    """A line a label that is wrong, those that the model is most sure of first."""
    answers, true = predictions.answers[sample], predictions.targets[sample] > 0.5
    wrong = np.flatnonzero(predictions.probable[sample] != true)
    wrong = wrong[np.argsort(-np.abs(answers[wrong] - 0.5), kind="stable")]
    lines = [
        f"{'-' if true[i] else '+'} {printable(settings.class_names[i])} ({answers[i]:.0%})" for i in wrong[:NAMED]
    ]
    return "\n".join([*lines, f"and {len(wrong) - NAMED} more"] if len(wrong) > NAMED else lines)


def _of_numbers(predictions: Predictions, settings: Settings, sample: int) -> str:
    """The number with the largest error, in its standard deviations."""
    targets, answers = predictions.targets[sample], predictions.answers[sample]
    worst = int(np.argmax(np.abs(answers - targets) / np.array(settings.target_std)))
    return f"{printable(settings.target_names[worst])} {targets[worst]:.5g}\npredicted {answers[worst]:.5g}"


CAPTIONS: dict[str, Callable[[Predictions, Settings, int], str]] = {
    "classes": _of_class,
    "multilabel": _of_labels,
    "regression": _of_numbers,
}


def _pixels(data: ProjectData, split: str, samples: list[int]) -> dict[int, np.ndarray]:
    """(S, S, 3) uint8 of each of these images, by its sample id, in the order given."""
    found: dict[int, np.ndarray] = {}
    if not samples:
        return found
    start = 0
    for images, targets in data.loader(split):
        if images.dim() == 5:
            images = images[:, -1]
        for sample in set(samples) & set(range(start, start + len(targets))):
            found[sample] = to_pixels(images[sample - start : sample - start + 1], data.settings)[0]
        start += len(targets)
    return {sample: found[sample] for sample in samples}
