"""The user's own code: src/own/ of a repository, which no update of Formwork edits.

A script in src/ finds it as the package `own`, beside `formwork`. Whoever uses the library from elsewhere names the
repository, and `use` imports it from there.
"""

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

from formwork.errors import FormworkError

NAME = "own"


def use(repository: Path) -> None:
    """Let `own` be src/own of this repository, where it has one.

    Raises:
        FormworkError: this process uses another repository's code already.
    """
    wanted = repository / "src" / NAME / "__init__.py"
    if not wanted.is_file():
        return
    used = folder()
    if used is not None:
        if not wanted.parent.samefile(used):
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
    """Of the code that this process uses; None where there is none."""
    spec: ModuleSpec | None = sys.modules[NAME].__spec__ if NAME in sys.modules else importlib.util.find_spec(NAME)
    return Path(spec.origin).parent if spec and spec.origin else None


def operations() -> dict[str, Callable]:
    """Operations for augmentation lists, by name: OPERATIONS of src/own/operations.py."""
    if folder() is None or importlib.util.find_spec(f"{NAME}.operations") is None:
        return {}
    from own.operations import OPERATIONS

    return OPERATIONS
