"""Whether params.yaml suits the repository: what DVC would stop at, with or without a word, when outputs are gone."""

import os
from pathlib import Path

from formwork.errors import ParamsError, did_you_mean
from formwork.folders import Folders
from formwork.params.model import FOLDER, WEIGHT_FILES
from formwork.params.read import NAME, load_params
from formwork.params.sections import Params, Sources
from formwork.params.undo import undoable
from formwork.yaml import dump_yaml, read_yaml


def load_params_of_stages(repository: Path = Path()) -> Params:
    """load_params, and the checks below.

    Raises:
        ParamsError: as these do, with the command that takes back what is refused.
    """
    with undoable(repository / NAME):
        params = load_params(repository)
        check_tracked(params, repository)
        check_dataset(params, repository)
        check_group(params)
        check_weights(params, repository)
    return params


def check_tracked(params: Params, repository: Path) -> None:
    """Refuse a params.yaml without a key that stages depend on: DVC wants each of them to be there.

    Raises:
        ParamsError: naming them, with their defaults.
    """
    given = read_yaml(repository / NAME)
    stages = read_yaml(repository / "dvc.yaml")["stages"].values()
    keys = {key: None for stage in stages for key in stage.get("do", stage).get("params", ())}
    lacking = [key for key in keys if _get(given, key) is _ABSENT]
    if lacking:
        defaults = params.model_dump(mode="json")
        lines = [f"  {key}: {dump_yaml(_get(defaults, key), one_line=True)}" for key in lacking]
        raise ParamsError("\n".join([f"{NAME} lacks keys that stages depend on. Their defaults are", *lines]), *lacking)


_ABSENT = object()


def _get(values: object, key: str) -> object:
    for step in key.split("."):
        values = values.get(step, _ABSENT) if isinstance(values, dict) else _ABSENT
    return values


def check_group(params: Params) -> None:
    """Refuse a group that the dataset does not have.

    Raises:
        ParamsError: with the nearest that it has.
    """
    group, groups = params.data.group, ["all", *params.dataset.groups]
    if group not in groups:
        raise ParamsError(
            f"data.group in params.yaml is {group!r}, which datasets.{params.data.name}.groups does not define. "
            f"{did_you_mean(group, groups)}",
            "data.group",
        )


def check_weights(params: Params, repository: Path) -> None:
    """Refuse a file of weights that is not there; one that DVC can bring need not be there yet.

    Raises:
        ParamsError: see missing_weights.
    """
    if params.model.weights in (None, "default"):
        return
    path = repository / FOLDER / params.model.weights
    if not path.is_file() and not _pointer(path).is_file():
        raise missing_weights(path)


def missing_weights(path: Path) -> ParamsError:
    """That a file of weights is not there, with the nearest that is, or how to get it."""
    if _pointer(path).is_file():
        return ParamsError(f"{path}, of model.weights, is not here. Run `dvc pull {path}`.", "model.weights")
    there = [file.name.removesuffix(".dvc") for file in path.parent.glob("*")]
    known = {name for name in there if name.endswith(WEIGHT_FILES)}
    near = did_you_mean(path.name, known) if known else "There is no file of weights yet."
    return ParamsError(
        f"model.weights is {path.name!r}, and there is no file {path}. {near} Copy one there, and run `dvc add` on it.",
        "model.weights",
    )


def _pointer(path: Path) -> Path:
    """The file that DVC writes for what `dvc add` has tracked."""
    return path.with_name(f"{path.name}.dvc")


def check_dataset(params: Params, repository: Path) -> None:
    """Refuse a dataset that is nowhere: not in data/raw, not known to DVC, not fetched and without manifests.

    Raises:
        ParamsError: with the nearest name that there is, or how to fetch it.
    """
    name = params.data.name
    folders = Folders.of(name, repository)
    raw = folders.raw
    pointer = _pointer(raw)
    if name in params.data.fetch or raw.is_dir() or pointer.exists() or folders.settings.exists():
        return
    key = "data.name"
    if raw.is_symlink():
        raise ParamsError(
            f"{raw}, the dataset of {key}, is a link to {os.readlink(raw)}, which is not there. Is it mounted?", key
        )
    if name in Sources.model_fields:
        fetched = ",".join([*params.data.fetch, name])
        raise ParamsError(
            f"{key} is {name!r}, which is not fetched yet. Add it to data.fetch: -S {key}={name} "
            f"-S 'data.fetch=[{fetched}]'",
            key,
        )
    there = [path for path in raw.parent.glob("[!.]*") if path.is_dir() or path.suffix == ".dvc"]
    known = {path.name.removesuffix(".dvc") for path in there}
    near = did_you_mean(name, known) if known else "There is no dataset yet."
    raise ParamsError(f"{key} is {name!r}, and there is no folder {raw}. {near}", key)
