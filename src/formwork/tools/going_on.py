"""Tool continue: train on from the model of an experiment, as a new experiment."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from formwork.errors import FormworkError, ParamsError
from formwork.files import atomic_write, write_text
from formwork.git import check_repository, git, read_files
from formwork.params import Params, load_params
from formwork.params.model import FOLDER
from formwork.params.read import NAME
from formwork.tools.diff.sides import WORKSPACE, Files, Side, find_side
from formwork.tools.experiments.edit import with_values
from formwork.tools.experiments.pipeline import read_lock
from formwork.tools.experiments.settings import apply_settings, keys_of
from formwork.yaml import YamlError, dump_yaml, parse_yaml

MODEL = "models/best.pt"
TAKEN = ("data.name", "data.group", "data.batch_size", "data.dtype", "augment", "model", "train", "trainer", "seed")
"""What a new experiment takes over from the one that it goes on from: all that says how it was trained."""
LOWER = 0.1  # times the learning rate of the experiment: what is learned is not to be lost in the first steps


def go_on(start: str, epochs: int | None, name: str | None, settings: Sequence[str]) -> None:
    """Train on from the best model of an experiment, in the repository whose root is the current folder.

    Its weights go to models/weights, are added to DVC and to git's index, and become model.weights; its params, but
    for a lower learning rate, go into params.yaml, and `dvc exp run` is called with `settings`.

    Args:
        start: a DVC experiment, a revision, or "workspace".
        epochs: of the new training; None: as many as the experiment had.
        name: of the new experiment; None: DVC makes one up.
        settings: more params, as `dvc exp run -S` takes them.

    Raises:
        FormworkError: there is no such experiment or model, the params cannot be used, or the training failed.
    """
    check_repository(Path())
    if ":" in start:
        raise FormworkError(f"{start!r} is no experiment: give its name, a revision, or {WORKSPACE}.")
    side = find_side(Path(), start)
    model, digest = _model(side)
    values = _values(side)
    file = f"{re.sub('[^A-Za-z0-9_.-]+', '-', start).strip('-.')}-{digest[:7]}.pt"
    values |= {"model.weights": file, "train.lr": float(f"{values['train']['lr'] * LOWER:.6g}")}
    if epochs is not None:
        values["trainer.max_epochs"] = epochs
    text = with_values(Path(NAME).read_text(encoding="utf-8"), _flat(values))
    _check(text, settings)
    target = Path(FOLDER) / file
    if not target.exists():
        with model.open("rb") as source, atomic_write(target) as copy:
            shutil.copyfileobj(source, copy)
    _dvc("add", "--quiet", str(target))
    git(Path(), "add", f"{target}.dvc")
    write_text(Path(NAME), text)
    asked = set(keys_of(settings))
    print(f"Going on from {side.name}: {target}")
    for key in ("train.lr", "trainer.max_epochs"):
        if key not in asked and key in values:
            print(f"  {key}: {dump_yaml(values[key], one_line=True)}")
    sys.stdout.flush()
    named = ["--name", name] if name else []
    _dvc("exp", "run", *named, *(f"--set-param={setting}" for setting in settings))


def _model(side: Side) -> tuple[Path, str]:
    """Where the model of a side lies, and its MD5.

    Raises:
        FormworkError: it has none, or it is not here, with the command that brings it.
    """
    content = (
        Path("dvc.lock").read_bytes()
        if side.revision is None and Path("dvc.lock").exists()
        else read_files(Path(), [f"{side.revision}:dvc.lock"])[0]
    )
    stages = read_lock(content or b"", ["train"])
    digest = stages["train"].outs.get(MODEL) if "train" in stages else None
    if digest is None:
        raise FormworkError(f"{side.name} has no trained model: its dvc.lock has no {MODEL}. Give another experiment.")
    # In DVC's cache, for the workspace, too: the file there may be of another training.
    found = Files(Path()).find(replace(side, revision=side.revision or "HEAD", outs={MODEL: digest}), [MODEL])
    return found[MODEL], digest


def _values(side: Side) -> dict[str, Any]:
    """Those of TAKEN, by dotted key, as the experiment had them; a section is one value."""
    if side.revision is None:
        return _chosen(load_params())
    content = read_files(Path(), [f"{side.revision}:{NAME}"])[0]
    try:
        return _chosen(Params.model_validate(parse_yaml(content or b"", NAME)))
    except (ValidationError, YamlError) as error:
        raise FormworkError(
            f"{NAME} of {side.name} cannot be used with this version. Take its model over by hand: docs/models.md says "
            "how."
        ) from error


def _chosen(params: Params) -> dict[str, Any]:
    content = params.model_dump(mode="json")
    values = {}
    for key in TAKEN:
        value: Any = content
        for step in key.split("."):
            value = value[step]
        values[key] = value
    return values


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections as their keys, so that comments in params.yaml stay; what comes later decides."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        is_section = key in Params.model_fields and isinstance(value, dict)
        flat |= {f"{key}.{name}": one for name, one in value.items()} if is_section else {key: value}
    return flat


def _check(text: str, settings: Sequence[str]) -> None:
    """Refuse what load_params would refuse, before anything is written."""
    with tempfile.TemporaryDirectory(prefix="continue-", dir=".dvc/tmp") as folder:
        place = Path(folder) / NAME
        write_text(place, text)
        try:
            if settings:
                write_text(place, dump_yaml(apply_settings(place, settings)))
            load_params(place)
        except ParamsError as error:
            raise ParamsError(str(error).replace(str(place), NAME)) from error


def _dvc(*arguments: str) -> None:
    # `python` in a stage's command is the one that runs this.
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    if subprocess.call([sys.executable, "-m", "dvc", *arguments], env=env):
        raise FormworkError(f"`dvc {' '.join(arguments)}` failed: see above.")
