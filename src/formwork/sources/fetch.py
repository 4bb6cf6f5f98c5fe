"""The fetch stage: a named dataset to data/raw/<name>, without ever touching a file that it did not write."""

import hashlib
import importlib
import json
import os
import shutil
from pathlib import Path

from formwork.errors import DatasetError, did_you_mean
from formwork.params import Section, Sources
from formwork.sources import SOURCES

RECORD = ".fetched.json"
"""In the fetched folder: version and options of the source, and the digest of each file that was written."""


def fetch(name: str, target: Path, sources: Sources) -> None:
    """Write the dataset `name` to `target`, whole or not at all.

    What is there already is left alone when it is what would be written, and replaced when it is untouched, and of an
    older version or other options. Archives that were downloaded outlive a failure, in `.<name>.archives` beside
    `target`, and are removed when the dataset is whole.

    Args:
        sources: the options of each source, of params.yaml.

    Raises:
        DatasetError: unknown name; a download failed; no file can be written; or `target` holds files that somebody
            added or changed, which are kept.
    """
    if name not in SOURCES:
        raise DatasetError(
            f"data.fetch in params.yaml lists {name!r}, which cannot be fetched. {did_you_mean(name, SOURCES)}"
        )
    source = importlib.import_module(f"formwork.sources.{name}")
    options: Section = getattr(sources, name)
    made = {"version": source.VERSION, "options": options.model_dump(mode="json")}
    if target.exists() and _untouched(target, name) == made:
        print(f"{target} is complete and unchanged.")
        return
    partial, old, archives = (target.with_name(f".{target.name}.{part}") for part in ("partial", "old", "archives"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        archives.mkdir(exist_ok=True)
        source.write(partial, archives, options)
        record = made | {"sha256": _digests(partial)}
        (partial / RECORD).write_text(json.dumps(record, indent=0, sort_keys=True) + "\n", encoding="utf-8")
        if target.exists():
            os.replace(target, old)
        os.replace(partial, target)
    except OSError as error:  # a full disk, say
        shutil.rmtree(partial, ignore_errors=True)
        raise DatasetError(f"{target} could not be written: {error}. Nothing was changed.") from error
    for leftover in (old, archives):
        shutil.rmtree(leftover, ignore_errors=True)


def _untouched(target: Path, name: str) -> dict[str, object]:
    """Version and options of the source that wrote `target`."""
    advice = (
        f"Nothing was changed. To keep these images as a dataset of your own: `mv {target} {target}-mine`, "
        f"`dvc add {target}-mine`, and set data.name to {target.name}-mine in params.yaml. Do so before `dvc exp run` "
        f"and `dvc exp apply`, which put the original back unasked. To get it back yourself: move or remove {target}, "
        "then `dvc repro`."
    )
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
        # A record without options is of a time when no source had any.
        made = {"version": record["version"], "options": record.get("options", {})}
        before = dict(record["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{target} exists and was not written by fetching {name!r}. {advice}") from error
    now = _digests(target)
    changed = sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
    if changed:
        kinds = [
            f"  {path} ({'removed' if path not in now else 'changed' if path in before else 'added'})"
            for path in changed
        ]
        listing = "\n".join(kinds[:10] + ([f"  ... and {len(kinds) - 10} more"] if len(kinds) > 10 else []))
        raise DatasetError(f"{target} was edited after it was fetched:\n{listing}\n{advice}")
    return made


def _digests(folder: Path) -> dict[str, str]:
    """By path, for everything below `folder` but the record and plain folders: SHA-256 of its content, or "link" for a
    symlink to a folder or to nothing. DVC may have put a symlink into its cache in place of a file: that is a file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "link"
        for path in sorted(folder.rglob("*"))
        if path != folder / RECORD and (path.is_file() or path.is_symlink())
    }
