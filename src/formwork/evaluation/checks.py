"""Whether a model and its answers can be judged at all."""

from pathlib import Path

import numpy as np

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.evaluation.predictions import Predictions
from formwork.images.manifest import Manifest
from formwork.interim.settings import Settings
from formwork.text import count


def check_same(trained_on: Settings, settings: Settings, model_file: Path) -> None:
    """Raise FormworkError if a model was trained to predict something else."""
    if trained_on.task != settings.task or trained_on.target_names != settings.target_names:
        raise FormworkError(
            f"{model_file} was trained to predict something else than the targets of {settings.name!r}. Run "
            "`dvc repro`."
        )
    if trained_on.class_names != settings.class_names:
        raise FormworkError(f"{model_file} was trained on other classes than {settings.name!r} has. Run `dvc repro`.")


def check_finite(predictions: Predictions, manifest: Manifest, title: str, model_file: Path) -> None:
    """Raise FormworkError if the model's answers are nan or infinite: no metric would mean anything.

    Args:
        title: of one of the images.
    """
    wrong = np.flatnonzero(~np.isfinite(predictions.losses))
    if len(wrong):
        path = printable(manifest.paths[wrong[0]])
        raise FormworkError(
            f"{model_file} gives no finite answer for {count(len(wrong), title)} of "
            f"{len(predictions):,}, {path} for one. Lower train.lr or the number of timesteps, "
            "and train again: `dvc repro`."
        )
