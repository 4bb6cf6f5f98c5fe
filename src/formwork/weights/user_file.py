"""Weights in a file of the user's, in any of the usual forms. Code in a file is never run."""

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor

from formwork import limits
from formwork.errors import FormworkError
from formwork.params.repository import missing_weights
from formwork.weights.download import file_sha256
from formwork.weights.initial_file import KEY, Origin

CODE = re.compile(r"GLOBAL (\S+)|(TorchScript)")
"""What torch says where it would have to run code, which it does not; the group is the name of the code."""
WRAPPERS = ("state_dict", "model_state_dict", "weights", "model", "net", "network")
"""Keys under which a checkpoint keeps the weights, the likeliest first."""


def read_user_file(path: Path) -> tuple[dict[str, Tensor], Origin]:
    """The tensors of a weight file by name, without what they were wrapped in.

    Raises:
        FormworkError: the file is missing, damaged, holds code or no tensors.
    """
    if not path.is_file():
        raise missing_weights(path)
    try:
        content = _content(path)
    except Exception as error:  # torch and safetensors raise many kinds on damaged files
        if isinstance(error, OSError) and limits.advice(error):
            raise
        if code := CODE.search(str(error)):
            raise FormworkError(
                f"{path} holds more than tensors and plain values: {code[1] or code[2]}. Loading that would run code, "
                "and is not done. Where you trust the file, load it with torch.load(path, weights_only=False), and "
                "save its state_dict with safetensors.torch.save_file."
            ) from error
        pickled = isinstance(error, pickle.UnpicklingError)
        reason = "it is damaged, or of no form that torch.save writes" if pickled else _first_line(error)
        raise FormworkError(f"{path} is no file of weights that can be read: {reason}.") from error
    tensors = _tensors(content)
    if not tensors:
        keys = f": its keys are {', '.join(map(str, list(content)[:8]))}" if isinstance(content, Mapping) else ""
        raise FormworkError(
            f"{path} holds no weights by name{keys}. Save the state_dict of the model, or name another file in "
            "model.weights."
        )
    return tensors, _origin(path, content)


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _tensors(content: Any) -> dict[str, Tensor]:
    """Those of a mapping, or of a mapping in it."""
    if not isinstance(content, Mapping):
        return {}
    found = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    inner = [key for key in content if isinstance(content[key], Mapping) and _tensors(content[key])]
    if not inner or (found and not any(key in WRAPPERS for key in inner)):
        return found
    return _tensors(content[min(inner, key=lambda key: WRAPPERS.index(key) if key in WRAPPERS else len(WRAPPERS))])


def _origin(path: Path, content: Any) -> Origin:
    """Of a model file of this project, with the mean and std that it was trained with."""
    lightning = isinstance(content, Mapping) and "pytorch-lightning_version" in content
    origin = Origin(source=path.as_posix(), sha256=file_sha256(path), lightning=lightning)
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            content = _json((file.metadata() or {}).get(KEY, ""))
    settings = content.get("settings") if isinstance(content, Mapping) else None
    if not isinstance(settings, Mapping):
        return origin
    statistics = {"mean": settings.get("mean"), "std": settings.get("std"), "size": settings.get("resolution")}
    try:
        return Origin.model_validate(origin.model_dump() | statistics)
    except ValidationError:  # settings of something else
        return origin


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0].rstrip(".:")
