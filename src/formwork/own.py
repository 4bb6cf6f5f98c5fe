"""The user's own code: src/own/ of a repository, which no update of Formwork edits.

A script in src/ finds it as the package `own`, beside `formwork`. Whoever uses the library from elsewhere names the
repository, and `use` imports it from there.
"""

import importlib.util
import sys
import traceback
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from formwork.code import code_digest
from formwork.errors import FormworkError, ParamsError, did_you_mean

NAME = "own"


def repository_of(folder: Path) -> Path | None:
    """The nearest repository above a folder, or the folder itself: where params.yaml is."""
    folder = folder.absolute()
    return next((place for place in (folder, *folder.parents) if (place / "params.yaml").is_file()), None)


def use(repository: Path) -> None:
    """Let `own` be src/own of this repository, where it has one, whatever is on the path.

    Raises:
        FormworkError: this process uses another repository's code already, and that differs.
    """
    wanted = repository.absolute() / "src" / NAME / "__init__.py"
    if not wanted.is_file():
        return
    used = folder() if NAME in sys.modules else None
    if used is not None:
        if not wanted.parent.samefile(used) and code_digest((), wanted.parent) != code_digest((), used):
            raise FormworkError(
                f"This process uses the code in {used} already, and cannot use {wanted.parent}, too. Start another one."
            )
        return
    spec = importlib.util.spec_from_file_location(NAME, wanted, submodule_search_locations=[str(wanted.parent)])
    assert spec is not None  # of a .py file there always is one
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


def folder() -> Path | None:
    """Folder of the own code that this process uses; None where there is none."""
    spec: ModuleSpec | None = sys.modules[NAME].__spec__ if NAME in sys.modules else importlib.util.find_spec(NAME)
    return Path(spec.origin).parent if spec and spec.origin and spec.submodule_search_locations else None


def place(error: BaseException) -> str | None:
    """The file and line in src/own that an error comes from; None where it comes from elsewhere."""
    here = folder()
    frames = traceback.extract_tb(error.__traceback__) if here else []
    lines = [f"{frame.filename}, line {frame.lineno}" for frame in frames if here in Path(frame.filename).parents]
    return lines[-1] if lines else None


def operations() -> dict[str, Callable[..., Any]]:
    """Operations for augmentation lists by name: OPERATIONS of src/own/operations.py; none where there is no such file.

    Raises:
        FormworkError: the file cannot be imported, or does not define it.
    """
    here = folder()
    if here is None or not (here / "operations.py").is_file():
        return {}
    path = here / "operations.py"
    try:
        from own.operations import OPERATIONS
    except Exception as error:  # whatever the code raises
        raise _failed(error, path) from error
    if not isinstance(OPERATIONS, dict):
        raise FormworkError(f"{path}: OPERATIONS must be a mapping of names to operations, and is {OPERATIONS!r}.")
    return OPERATIONS


def model(name: str) -> Callable[..., Any]:
    """The function of that name of src/own/models.py, which makes a model.

    Raises:
        FormworkError: the file is missing, cannot be imported, or has no such function.
    """
    here = folder()
    path = (here or Path("src") / NAME) / "models.py"
    if not path.is_file():
        raise ParamsError(
            f"model.name is own/{name}, a function of {path}, and there is no such file. docs/models.md shows one.",
            "model.name",
        )
    try:
        from own import models  # type: ignore[attr-defined]  # there need not be one
    except Exception as error:  # whatever the code raises
        raise _failed(error, path) from error
    function = getattr(models, name, None)
    if not callable(function):
        # What the file defines, and not what it imports.
        known = [key for key, value in vars(models).items() if getattr(value, "__module__", "") == models.__name__]
        public = [key for key in known if not key.startswith("_") and callable(getattr(models, key))]
        near = did_you_mean(name, public) if public else "It defines none."
        raise ParamsError(f"model.name is own/{name}, and {path} has no function {name!r}. {near}", "model.name")
    return function


def _failed(error: Exception, path: Path) -> FormworkError:
    where = place(error) or path
    return FormworkError(f"{where}: {type(error).__name__}: {error}. Correct it, or remove the file.")
