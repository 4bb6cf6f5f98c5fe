"""Params of an experiment as people give them in a command: `-S key=value`, in the words of `dvc exp run`."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from formwork.errors import ParamsError
from formwork.params.read import NAME
from formwork.yaml import read_yaml

ANOTHER = re.compile(r"\s*(?:\+{0,2}|~)[A-Za-z_][\w-]*(?:\.[\w-]+)*(?:=|$)")
"""Where a setting begins, after a comma."""
CLOSING = {"(": ")", "[": "]", "{": "}"}


def split_settings(text: str) -> list[str]:
    """`a=1,b=[2,3]` as its settings, `a=1` and `b=[2,3]`. A comma that no setting follows belongs to the value, as in
    `a=1,2`."""
    parts, start, waiting, quote = [], 0, [], ""
    for place, character in enumerate(text):
        if quote:
            quote = "" if character == quote and text[place - 1] != "\\" else quote
        elif character in "'\"":
            quote = character
        elif character in CLOSING:
            waiting.append(CLOSING[character])
        elif waiting and character == waiting[-1]:
            waiting.pop()
        elif character == "," and not waiting and "=" in text[place:] and ANOTHER.match(text, place + 1):
            parts.append(text[start:place].strip())
            start = place + 1
    return [*parts, text[start:].strip()]


def expand(settings: Sequence[str]) -> list[list[str]]:
    """Several values of a key, `a=1,2`, as `dvc exp run --queue` takes them: settings with each of them.

    Raises:
        ParamsError: a setting cannot be read.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import get_hydra_sweeps, to_hydra_overrides
    from hydra.errors import HydraException

    for setting in settings:
        if "=" not in setting and not setting.startswith("~"):
            raise ParamsError(f"-S {setting} cannot be read: write key=value, as in -S train.lr=0.001.")
        try:
            (override,) = to_hydra_overrides([setting])
        except HydraException as error:
            reason = str(error).partition("\n")[0].rstrip(".")
            raise ParamsError(f"-S {setting} cannot be read as key=value: {reason}.") from error
        if not override.key_or_group:
            raise ParamsError(f"-S {setting} cannot be read: write key=value, as in -S train.lr=0.001.")
    try:
        if not any(override.is_sweep_override() for override in to_hydra_overrides(list(settings))):
            return [list(settings)]
        return [found[NAME] for found in get_hydra_sweeps({NAME: list(settings)})]
    except (DvcException, HydraException) as error:
        raise ParamsError(f"-S {','.join(settings)} cannot be read: {error}") from error


def keys_of(settings: Iterable[str]) -> list[str]:
    """The dotted keys that settings are about."""
    return [setting.partition("=")[0].strip().lstrip("+~") for setting in settings]


def apply_settings(params: Path, settings: Sequence[str]) -> dict[str, Any]:
    """What a params.yaml holds after `dvc exp run -S` with settings. The file stays as it is.

    Raises:
        ParamsError: they cannot be applied.
    """
    from dvc.exceptions import DvcException
    from dvc.utils.hydra import apply_overrides

    with tempfile.TemporaryDirectory(prefix="formwork-") as folder:
        changed = Path(folder) / NAME
        shutil.copyfile(params, changed)
        try:
            apply_overrides(changed, list(settings))
        except DvcException as error:
            reason = str(error.__cause__ or error).partition("\n")[0]
            raise ParamsError(f"-S {','.join(settings)}: {reason}") from error
        return read_yaml(changed)


def with_new_keys(settings: Sequence[str], content: Any) -> list[str]:
    """Settings as `dvc exp run -S` takes them, which wants a plus before a key that params.yaml leaves out, and two
    before a mapping, which may hold some."""
    from dvc.utils.hydra import to_hydra_overrides

    found = []
    for setting in settings:
        plus = ""
        if setting[0] not in "+~":
            is_mapping = isinstance(to_hydra_overrides([setting])[0].value(), dict)
            plus = "++" if is_mapping else "" if _has(content, *keys_of([setting])) else "+"
        found.append(plus + setting)
    return found


def _has(content: Any, key: str) -> bool:
    for step in key.split("."):
        if not isinstance(content, dict) or step not in content:
            return False
        content = content[step]
    return True
