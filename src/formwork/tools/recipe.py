"""Tool recipe: set the params of a ready recipe in params.yaml."""

import difflib
from pathlib import Path
from typing import Any

from formwork.errors import FormworkError, ParamsError, did_you_mean
from formwork.files import write_text
from formwork.params import load_params
from formwork.params.read import NAME
from formwork.tools.experiments.edit import with_values
from formwork.yaml import read_yaml

RECIPES = Path("docs/recipes")


def show_recipes(folder: Path = RECIPES) -> None:
    """Print name and first line of each."""
    for path in _files(folder).values():
        title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        print(f"{path.stem:20} {title}")
    print('\nSet the params of one: make recipe ARGS="NAME"')


def read_recipe(name: str, folder: Path = RECIPES) -> dict[str, Any]:
    """Values of a recipe by dotted key, as yet unchecked.

    Args:
        name: of a file of `folder`, without its ending; or the path of one that ends in .yaml.

    Raises:
        FormworkError: there is none of this name, with the nearest; or the file holds no mapping.
    """
    files = _files(folder)
    path = Path(name) if name.endswith(".yaml") else files.get(name)
    if path is None or not path.is_file():
        raise FormworkError(f"There is no recipe {name!r}. {did_you_mean(name, files)}")
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise FormworkError(f"{path} must hold params by dotted key, as train.lr: 0.1.")
    return values


def apply_recipe(name: str) -> None:
    """Set the params of a recipe in params.yaml, in the repository whose root is the current folder; show what changed.

    Raises:
        FormworkError: there is no such recipe, or its params cannot be used; params.yaml is as it was.
    """
    values = read_recipe(name)
    try:
        load_params(overrides=values)
    except ParamsError as error:
        raise ParamsError(f"The recipe {name} cannot be used.\n{error}", *error.keys) from error
    path = Path(NAME)
    before = path.read_text(encoding="utf-8")
    after = with_values(before, values)
    write_text(path, after)
    changed = f"{NAME} with {name}"
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), NAME, changed, n=1, lineterm=""))
    print("\n".join(lines) or f"{NAME} has these values already.")
    if lines:
        print(f"\nTrain with it: dvc exp run --name {Path(name).stem}")
        print(f"Take it back, with all other edits: git checkout {NAME}")


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
