"""A trained model as a file: its weights and all that is needed to use them, the same bytes for the same training."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from formwork.errors import FormworkError
from formwork.files import atomic_write
from formwork.interim.settings import Settings
from formwork.models.build import build_model
from formwork.models.presentation import Presented, is_recurrent
from formwork.params import Model


class TrainedModel(NamedTuple):
    """network: in evaluation mode on the CPU: (B, 3, H, W), normalised, to (B, outputs); a recurrent one as Presented.
    settings: of the dataset that it was trained on, with the augmentation lists that it was trained and validated with.
    params: the section `model` of params.yaml, as it was trained."""

    network: nn.Module
    settings: Settings
    params: Model


def save_model(
    path: Path,
    params: Model,
    settings: Settings,
    weights: dict[str, torch.Tensor],
    epoch: int,
    val: Mapping[str, float],
) -> None:
    """Write a model of build_model.

    Args:
        settings: of the dataset that it was trained on, with the augmentation lists that were used.
        weights: its state_dict.
        epoch: that the weights are of, counted from 1. val: its loss and metrics on the validation split.
    """
    content = {
        "model": params.model_dump(),
        "settings": settings.model_dump(),
        "weights": dict(weights),
        "epoch": epoch,
        "val": dict(val),
    }
    buffer = io.BytesIO()  # torch.save writes the name of a file into it, and that is a temporary one
    torch.save(content, buffer)
    with atomic_write(path) as file:
        file.write(buffer.getvalue())


def load_model(path: Path) -> TrainedModel:
    """Read what save_model wrote.

    Raises:
        FormworkError: the file is missing or no model of this version.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        settings = Settings.model_validate(content["settings"])
        params = Model.model_validate(content["model"])
        network = build_model(params, settings.outputs, settings.resolution)
        network.load_state_dict(content["weights"])
        if is_recurrent(network):
            network = Presented(network, params)
        return TrainedModel(network.eval(), settings, params)
    except FileNotFoundError as error:
        raise FormworkError(f"{path} is missing. Run `dvc pull {path}`, or `dvc repro train`.") from error
    except Exception as error:  # torch.load and what follows raise many kinds on damaged files
        raise FormworkError(f"{path} is no model of this version ({error}). Run `dvc repro -f train`.") from error
