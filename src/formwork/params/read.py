"""Reading params.yaml: every mistake in one go, each with its key and the nearest valid name."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from formwork.errors import ParamsError, did_you_mean
from formwork.params.sections import Dataset, Params
from formwork.params.undo import DOTTED, with_undo
from formwork.yaml import YamlError, dump_yaml, read_yaml, scalar_text, spellings

NAME = "params.yaml"
PATTERN = "model.pattern"


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
        return _load(path, overrides or {})
    except ParamsError as error:
        raise with_undo(error, path) from error


def _load(path: Path, overrides: Mapping[str, Any]) -> Params:
    try:
        raw = read_yaml(path)
    except FileNotFoundError as error:
        raise ParamsError(f"{path} is missing. Run from the root of the repository.") from error
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}.") from error
    except YamlError as error:
        raise ParamsError(str(error)) from error
    if not isinstance(raw, dict):
        raise ParamsError(f"{path} must hold a mapping of sections, and holds {type(raw).__name__}.")
    _check_pattern(raw, path)
    for key, value in overrides.items():
        set_value(raw, key, value)
    where = f"{path}, with {', '.join(overrides)} overridden" if overrides else str(path)
    return params_of(raw, where, path.parent)


def params_of(content: Mapping[str, Any], where: str, repository: Path = Path()) -> Params:
    """The params of what a params.yaml holds, checked.

    Args:
        where: what messages call it.
        repository: whose datasets a name may mean.

    Raises:
        ParamsError: as load_params does.
    """
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        names = {"data.name": _folders(repository / "data/raw"), "data.group": _groups(content)}
        reasons = _explain(error, names)
        lines = [f"  {key}: {reason}" if key else f"  {reason}" for key, reason in reasons.items()]
        keys = [key for key in reasons if key] + DOTTED.findall(reasons.get("", ""))
        raise ParamsError("\n".join([f"{where}:", *lines]), *keys) from error


def _check_pattern(raw: dict[str, Any], path: Path) -> None:
    """Refuse `pattern: 0110`, which is 110 to YAML 1.2, and so to DVC: nobody would see a timestep less."""
    model = raw.get("model")
    if isinstance(model, dict) and type(number := model.get("pattern")) in (int, float):
        text = scalar_text(path, PATTERN)
        if text != str(number):
            raise ParamsError(
                f"{path}:\n  {PATTERN}: {text} without quotes is the number {number} to DVC: write '{text}'", PATTERN
            )


def set_value(raw: dict[str, Any], key: str, value: Any) -> None:
    """Set the value of a dotted key; sections that are left out are made."""
    *sections, name = key.split(".")
    section = raw
    for step in sections:
        if not isinstance(section.get(step), dict):
            section[step] = {}
        section = section[step]
    section[name] = value


def _folders(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir() if entry.is_dir()] if path.is_dir() else []


def _groups(raw: Mapping[str, Any]) -> list[str]:
    """The names of the groups of all datasets, in a params.yaml that need not be sound."""
    found: list[str] = []
    datasets = raw.get("datasets")
    for dataset in datasets.values() if isinstance(datasets, dict) else ():
        groups = dataset.get("groups") if isinstance(dataset, dict) else None
        found += groups if isinstance(groups, dict) else ()
    return found


def _quotes(key: str, value: Any, names: Iterable[str], in_list: bool) -> str:
    """How to write a text that YAML takes for a number or the like; as one of `names` is spelled, if that is meant."""
    (text, *_) = [*spellings(value, names), dump_yaml(value, one_line=True)]
    command = "" if in_list else f"; in a command, -S '{key}=\"{text}\"'"
    return f". In quotes it is text: '{text}'{command}"


def _explain(error: ValidationError, names: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """What is wrong by dotted key; "" for what several sections are about. The alternatives of a union are merged.

    Args:
        names: by key, those that its value may be one of, as far as they are known.
    """
    reasons: dict[str, list[str]] = {}
    values: dict[str, object] = {}
    hints: dict[str, str] = {}
    for item in error.errors():
        path, model = _place(item["loc"])
        key = ".".join(path)
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
            if item["type"] == "string_type" and not isinstance(item["input"], (dict, list)):
                hints[key] = _quotes(key, item["input"], names.get(key, ()), in_list=len(path) < len(item["loc"]))
        reasons.setdefault(key, []).append(reason)
    return {
        key: " or ".join(dict.fromkeys(alternatives))
        + (f", and it is {values[key]!r}{hints.get(key, '')}" if key in values else "")
        for key, alternatives in reasons.items()
    }


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


def kinds_of_value(key: str) -> set[type]:
    """Types of the values of a dotted key, {float} of train.lr; none of a key that is unknown, or in a mapping of any
    content, such as the options of a model."""
    parts = key.split(".")
    path, model = _place(tuple(parts))
    field = model.model_fields.get(parts[-1]) if path == parts else None
    return _types_in(field.annotation) if field else set()


def _types_in(annotation: Any) -> set[type]:
    if get_origin(annotation) in (Union, UnionType):
        return set().union(*map(_types_in, get_args(annotation)))
    if get_origin(annotation) is Annotated:
        return _types_in(get_args(annotation)[0])
    return {annotation} if isinstance(annotation, type) else set()
