"""Reading params.yaml: every mistake in one go, each with its key and the nearest valid name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from formwork.errors import ParamsError, did_you_mean
from formwork.params.sections import Dataset, Params

NAME = "params.yaml"


def load_params(path: str | Path = NAME, overrides: Mapping[str, Any] | None = None) -> Params:
    """Read and check params.yaml.

    Args:
        path: of the file, or of the repository that it is in.
        overrides: values in place of those in the file, by dotted key, as in {"data.batch_size": 32}.

    Raises:
        ParamsError: naming every unknown key (with the nearest known one), wrong type and value out of range; or the
            file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        path = path / NAME
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing. Run from the root of the repository.") from error
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path} must hold a mapping of sections, and holds {type(raw).__name__}.")
    for key, value in (overrides or {}).items():
        _override(raw, key, value)
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        where = f"{path}, with {', '.join(overrides)} overridden" if overrides else str(path)
        raise ParamsError("\n".join([f"{where}:", *_explain(error)])) from error


def _override(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key; sections that are left out are made."""
    *sections, name = key.split(".")
    section = raw
    for step in sections:
        if not isinstance(section.get(step), dict):
            section[step] = {}
        section = section[step]
    section[name] = value


def _explain(error: ValidationError) -> list[str]:
    """One line a mistake. A union reports each of its alternatives: their lines are merged by key."""
    reasons: dict[str, list[str]] = {}
    values: dict[str, object] = {}
    for item in error.errors():
        path, model = _place(item["loc"])
        key = ".".join(path) or "(top level)"
        if item["type"] == "extra_forbidden":
            near = did_you_mean(path[-1], model.model_fields) if model.model_fields else "Nothing can be set there."
            reason = f"unknown. {near}"
        elif item["type"] == "missing":
            reason = "is missing"
        elif item["type"] == "value_error":
            reason = str(item["ctx"]["error"])
        else:
            reason = item["msg"][0].lower() + item["msg"][1:]
            values[key] = item["input"]
        reasons.setdefault(key, []).append(reason)
    return [
        f"  {key}: {' or '.join(dict.fromkeys(alternatives))}"
        + (f", and it is {values[key]!r}" if key in values else "")
        for key, alternatives in reasons.items()
    ]


def _place(location: tuple[int | str, ...]) -> tuple[list[str], type[BaseModel]]:
    """The keys of a pydantic location, and the model that the last of them should be in.

    What follows the key of a plain value is left out: positions in a list, and names of a union's alternatives.
    """
    model: type[BaseModel] = Params
    path: list[str] = []
    for part in map(str, location):
        path.append(part)
        if path[0] == "datasets" and len(path) <= 2:
            model = Dataset
            continue
        field = model.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            break
        model = field.annotation
    return path, model
