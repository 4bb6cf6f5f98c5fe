"""A trained model as a file: its weights and all that is needed to use them, the same bytes for the same training."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NamedTuple
from zipfile import is_zipfile

import torch
from torch import nn

from formwork.errors import FormworkError
from formwork.files import atomic_write
from formwork.interim.settings import Settings
from formwork.models.build import build_model
from formwork.models.presentation import Presented, is_recurrent
from formwork.params import Model

SAFETENSORS = ".safetensors"
METADATA = "formwork"  # in the header of such a file: a JSON object with what is not weights


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


def as_safetensors(trained: TrainedModel) -> bytes:
    """A file of the weights, by their names in the state_dict, which load_model reads, too."""
    from safetensors.torch import save  # here: stages do without

    network = trained.network.network if isinstance(trained.network, Presented) else trained.network
    weights = {name: value.contiguous().clone() for name, value in network.state_dict().items()}  # none shared
    about = {"model": trained.params.model_dump(), "settings": trained.settings.model_dump()}
    return save(weights, {METADATA: json.dumps(about)})


def load_model(path: Path) -> TrainedModel:
    """Read what save_model or as_safetensors wrote. Nothing in the file is run.

    Raises:
        FormworkError: the file is missing or no model of this version; or the model is own code that is not there.
    """
    try:
        content = _content(path)
        settings = Settings.model_validate(content["settings"])
        params = Model.model_validate(content["model"])
        network = build_model(params, settings.outputs, settings.resolution)
        network.load_state_dict(content["weights"])
        if is_recurrent(network):
            network = Presented(network, params)
        return TrainedModel(network.eval(), settings, params)
    except FileNotFoundError as error:
        raise FormworkError(f"{path} is missing. Run `dvc pull {path}`, or `dvc repro train`.") from error
    except FormworkError as error:
        raise FormworkError(f"{path} cannot be used: {error}") from error
    except UnpicklingError as error:
        raise FormworkError(
            f"{path} is no model of Formwork: it holds more than tensors and plain values. That may be code, so it was "
            "not loaded. Name a file that the stage train wrote, such as models/best.pt."
        ) from error
    except Exception as error:  # torch.load and what follows raise many kinds on damaged files
        raise FormworkError(f"{path} is no model of this version ({error}). Run `dvc repro -f train`.") from error


def _content(path: Path) -> dict[str, Any]:
    if path.suffix != SAFETENSORS:
        if path.stat() and not is_zipfile(path):
            raise ValueError("it has not the form that torch.save gives to files")
        return torch.load(path, map_location="cpu", weights_only=True)
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
        return {"weights": weights, **json.loads(file.metadata()[METADATA])}
