"""Whether the dataset that data.name names can be had at all, before any stage asks for it."""

import os
from pathlib import Path

from formwork.errors import ParamsError, did_you_mean
from formwork.folders import Folders
from formwork.params.sections import Params, Sources


def check_dataset(params: Params, repository: Path = Path()) -> None:
    """Refuse a dataset that is nowhere: not in data/raw, not known to DVC, not fetched and without manifests.

    Raises:
        ParamsError: with the nearest name that there is, or how to fetch it.
    """
    name = params.data.name
    folders = Folders.of(name, repository)
    raw = folders.raw
    pointer = raw.with_name(f"{raw.name}.dvc")
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
