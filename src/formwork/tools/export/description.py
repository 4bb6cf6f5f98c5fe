"""What stands beside an exported model: how an image becomes its input, and what its answers mean."""

from importlib.metadata import version
from typing import Any

import torch

from formwork.loading.augmentation import FITTING
from formwork.models.model_file import TrainedModel
from formwork.tools.export.formats import BATCH, INPUT, OUTPUT
from formwork.version import __version__

MEANING = {
    "classes": "the probability of each class",
    "multilabel": "the probability of each label, whatever the others are",
    "regression": "each target, in the units of the table of labels",
}


def describe(name: str, trained: TrainedModel, packages: tuple[str, ...]) -> dict[str, Any]:
    """The content of the JSON file beside a model, but for what is known of that file itself.

    Args:
        name: of the format.
        packages: whose versions it is made with, beside torch.
    """
    settings, side = trained.settings, trained.settings.resolution
    names = settings.target_names or settings.class_names
    return {
        "format": name,
        "dataset": settings.name,
        "task": settings.task,
        "target_names" if settings.task == "regression" else "class_names": names,
        "input": {"name": INPUT, "type": "float32", "shape": [BATCH, 3, side, side]},
        "output": {"name": OUTPUT, "type": "float32", "shape": [BATCH, len(names)], "meaning": MEANING[settings.task]},
        "preprocessing": {
            "pixels": "RGB of 8 bits, upright by EXIF; transparency on white; of 16 bits the upper 8",
            **_geometry(trained),
            "scaling": "bilinear with antialiasing, as Pillow's BILINEAR",
            "resolution": side,
            "mean": settings.mean,
            "std": settings.std,
            "normalisation": "(value / 255 - mean) / std, by channel",
        },
        "model": trained.params.model_dump(),
        "versions": {"formwork": __version__, "torch": torch.__version__} | _versions(packages),
    }


def _geometry(trained: TrainedModel) -> dict[str, Any]:
    """center_crop: share of the shorter side that the square in the middle has, which is scaled to the resolution; null
    where that is something else. operations: all that is done, in order, as params.yaml has it."""
    operations = trained.settings.augment_val
    first, arguments = next(iter(operations[0].items())) if operations else ("", None)
    crop = None if first in FITTING else 1.0  # the first of a list without any is CenterCrop
    if first == "CenterCrop":
        crop = (arguments or {}).get("ratio", 1.0)
    return {"center_crop": crop, "operations": operations}


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    return {package: version(package) for package in packages}
