"""Fetching: a dataset by name to data/raw/<name>, without ever touching a file that an earlier fetch did not write."""

import hashlib
import importlib
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from formwork import limits
from formwork.errors import DatasetError, did_you_mean
from formwork.fetched import RECORD, advice, edited, files_of
from formwork.params import Section, Sources


def fetch(name: str, target: Path, sources: Sources) -> None:
    """Write the dataset `name` to `target`, completely or not at all.

    A folder that is there already is left alone if it is what would be written, and replaced if it is of an older
    version or other options, and nobody changed it. Downloaded archives are kept in `.<name>.archives` beside `target`
    until the dataset is complete.

    Args:
        sources: the section of params.yaml, with the options of each source.

    Raises:
        DatasetError: the name is unknown, a download failed, files cannot be written, or `target` holds files that
            somebody added or changed, which are kept.
    """
    if name not in Sources.model_fields:
        raise DatasetError(
            f"data.fetch in params.yaml lists {name!r}, which cannot be fetched. "
            f"{did_you_mean(name, Sources.model_fields)}"
        )
    source = importlib.import_module(f"formwork.sources.{name}")
    options: Section = getattr(sources, name)
    wanted = {"version": source.VERSION, "options": options.model_dump(mode="json")}
    if target.is_symlink() and not target.exists():
        raise DatasetError(
            f"{target} is a link to {os.readlink(target)}, which is not there. Mount it, or remove the link."
        )
    if target.exists() and _made_by(target, name) == wanted:
        print(f"{target} is complete and unchanged.")
        return
    partial, old, archives = (target.with_name(f".{target.name}.{part}") for part in ("partial", "old", "archives"))
    _remove(partial)
    _remove(old)
    try:
        partial.mkdir(parents=True)
        archives.mkdir(exist_ok=True)
        source.write(partial, archives, options)
        record = wanted | {"sha256": _digests(partial)}
        (partial / RECORD).write_text(json.dumps(record, indent=0, sort_keys=True) + "\n", encoding="utf-8")
        if target.exists():
            os.replace(target, old)
        os.replace(partial, target)
    except BaseException as error:
        _remove(partial)
        if old.exists() and not target.exists():
            os.replace(old, target)
        with suppress(OSError):  # it stays where there is anything in it
            archives.rmdir()
        if not isinstance(error, OSError):
            raise
        message = f"{target} could not be written: {error.strerror or error}. Nothing was changed."
        raise DatasetError(f"{message} {limits.advice(error)}".rstrip()) from error
    _remove(old)
    _remove(archives)


def _remove(path: Path) -> None:
    """Remove a folder, or a link to one, as far as that is possible."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _made_by(target: Path, name: str) -> dict[str, object]:
    """Version and options of the source that wrote `target`.

    Raises:
        DatasetError: it was not written by a fetch, or was changed since.
    """
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
        # Records without options are older than options.
        made_by = {"version": record["version"], "options": record.get("options", {})}
        before = dict(record["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{target} exists and was not written by fetching {name!r}. {advice(target)}") from error
    now = _digests(target)
    changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
    if changed:
        raise edited(target, {p: "removed" if p not in now else "changed" if p in before else "added" for p in changed})
    return made_by


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 by path of each file below `folder` but litter; "link" for symlinks to folders and to nothing.

    A symlink to a file counts as that file: DVC may replace files by links into its cache.
    """
    return {name: _digest(path) if os.path.isfile(path) else "link" for name, path in files_of(folder)}


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
