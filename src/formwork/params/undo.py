"""The command that takes back what was refused, where params.yaml differs from the last commit.

`dvc exp run -S` writes into params.yaml before any stage runs, and leaves it so.
"""

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from formwork.errors import FormworkError, ParamsError
from formwork.git import git
from formwork.yaml import YamlError, parse_yaml, read_yaml

Key = tuple[str, ...]

EXPERIMENTS = ".dvc/tmp/exps"
"""Where DVC runs `dvc exp run --temp` and the queue."""
DOTTED = re.compile(r"\b(?:data|ffcv|augment|model|train|trainer|evaluate|sources|datasets)(?:\.[\w-]+)+")
PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)[A-Za-z_][\w./-]*", re.IGNORECASE | re.ASCII)
"""Text that hydra, which reads -S for DVC, takes as it is."""
OUTPUTS = {("data", "name"), ("data", "fetch")}
"""Keys on which the paths of outputs depend. `dvc exp run` takes those of the old values away before any stage runs."""
ABSENT = object()


@contextmanager
def undoable(path: Path = Path("params.yaml")) -> Iterator[None]:
    """Around a check of params: what is refused says how it is taken back, and that command works."""
    _let_git_see(path)
    try:
        yield
    except ParamsError as error:
        if error.undo_is_known:
            raise
        raise with_undo(error, path) from error


def _let_git_see(path: Path) -> None:
    """Move the time of params.yaml on by a second.

    `dvc exp run -S` writes it twice, as committed and then with the new value, often in one second, and with as many
    bytes: git, which looks at these two, would take it for unchanged, and `git checkout` would leave the mistake.
    """
    with suppress(OSError):  # where it is not ours, or not there, as load_params says
        found = os.stat(path)
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000_000))


def with_undo(error: ParamsError, path: Path) -> ParamsError:
    """The error, with the command as its last line where there is one.

    Args:
        error: its `keys` are those that were refused, or else those that its message names.
        path: of params.yaml.
    """
    advice = undo(path, error.keys or DOTTED.findall(str(error)))
    error = ParamsError(f"{error}\n{advice}" if advice else str(error), *error.keys)
    error.undo_is_known = True
    return error


def undo(path: Path, refused: Iterable[str]) -> str:
    """A sentence with the command; "" where params.yaml is as committed, or in no git repository.

    The command loses no other edit: where the file has some, it sets back the refused keys alone.

    Args:
        refused: dotted keys; none: it is not known which.
    """
    folder, name = path.resolve().parent, path.name
    try:
        committed, staged = (git(folder, "show", f"{where}:./{name}") for where in ("HEAD", ""))
        before = parse_yaml(committed, name)
    except FormworkError:
        return ""
    if EXPERIMENTS in folder.as_posix():
        return f"The {name} of your workspace is as it was."
    checkout = f"git checkout {'' if staged == committed else 'HEAD '}{name}"
    try:
        content, now = path.read_bytes(), read_yaml(path)
    except YamlError:
        now = None
    if not isinstance(now, dict) or not isinstance(before, dict):
        return f"`git diff HEAD {name}` shows what changed since the last commit; `{checkout}` takes back all of that."
    changed = list(_changes(before, now))
    if not OUTPUTS.isdisjoint(changed):
        checkout += " && dvc checkout"
    wrong = [key for key in changed if _is_in(key, refused)] if refused else changed
    kept = [".".join(key) for key in changed if key not in wrong]
    if not wrong:
        return ""
    if not refused:
        return f"`{checkout}` takes back what differs from the last commit: {', '.join(map('.'.join, changed))}."
    if not kept and _comments(content) <= _comments(committed):
        return f"`{checkout}` takes it back."
    settings = list(dict.fromkeys(_setting(key, before, now, wrong) for key in wrong))
    if not all(re.fullmatch(r"[\w-]+", step) for key in wrong for step in key):  # hydra has no way to name it
        return f"`git diff HEAD {name}` shows what to take back; the command `{checkout}` takes back all of that."
    return f"`dvc exp run {' '.join(settings)}` takes it back, and keeps {', '.join(kept) or 'your comments'}."


def _changes(before: Any, now: Any, start: Key = ()) -> Iterator[Key]:
    """Keys whose values differ; of a section that came or went, all that are in it."""
    if isinstance(before, dict) and now is ABSENT:
        now = {}
    if isinstance(now, dict) and before is ABSENT:
        before = {}
    if isinstance(before, dict) and isinstance(now, dict) and (before or now):
        for key in {**before, **now}:
            yield from _changes(before.get(key, ABSENT), now.get(key, ABSENT), (*start, key))
    elif repr(before) != repr(now):
        yield start


def _is_in(key: Key, refused: Iterable[str]) -> bool:
    """Whether a key is one of the refused ones, or in one, or the other way round."""
    name = f"{'.'.join(key)}."
    return any(name.startswith(f"{other}.") or f"{other}.".startswith(name) for other in refused)


def _comments(content: bytes) -> set[bytes]:
    return set(re.findall(rb"#.*", content))


def _setting(key: Key, before: Any, now: Any, wrong: Iterable[Key]) -> str:
    """What `dvc exp run` is to be given so that a key is as it was. A new section in which all is wrong goes as one."""
    value = _get(before, key)
    if value is not ABSENT:
        plus = "+" if _get(now, key) is ABSENT else ""
        return "-S " + shlex.quote(f"{plus}{'.'.join(key)}={_hydra(value)}")
    for length in range(1, len(key)):
        section = key[:length]
        if _get(before, section) is ABSENT and set(_changes({}, _get(now, section), section)) <= set(wrong):
            return "-S " + shlex.quote(f"~{'.'.join(section)}")
    return "-S " + shlex.quote(f"~{'.'.join(key)}")


def _get(values: Any, key: Key) -> Any:
    for step in key:
        values = values.get(step, ABSENT) if isinstance(values, dict) else ABSENT
    return values


def _hydra(value: Any) -> str:
    """A value as hydra reads it: JSON, but for text that needs no quotes."""
    if isinstance(value, dict):
        return f"{{{','.join(f'{_hydra(key)}:{_hydra(item)}' for key, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_hydra, value))}]"
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)
