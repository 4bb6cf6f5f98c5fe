"""params.yaml as typed, checked values: its sections, and how it is read."""

from formwork.params.augment import Augment
from formwork.params.evaluate import Evaluate
from formwork.params.fields import Operations, Section
from formwork.params.model import Model
from formwork.params.read import load_params
from formwork.params.sections import (
    BetonParams,
    Data,
    Dataset,
    Ffcv,
    ImagenetteSource,
    NoOptions,
    Params,
    Sources,
    SyntheticSource,
)
from formwork.params.train import Train, Trainer

__all__ = [
    "Augment",
    "BetonParams",
    "Data",
    "Dataset",
    "Evaluate",
    "Ffcv",
    "ImagenetteSource",
    "Model",
    "NoOptions",
    "Operations",
    "Params",
    "Section",
    "Sources",
    "SyntheticSource",
    "Train",
    "Trainer",
    "load_params",
]
