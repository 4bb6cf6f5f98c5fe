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
from formwork.errors import FormworkError

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
        where = place(error) or path
        raise FormworkError(f"{where}: {type(error).__name__}: {error}. Correct it, or remove the file.") from error
    if not isinstance(OPERATIONS, dict):
        raise FormworkError(f"{path}: OPERATIONS must be a mapping of names to operations, and is {OPERATIONS!r}.")
    return OPERATIONS
