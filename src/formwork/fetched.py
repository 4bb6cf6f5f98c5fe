"""Folders that fetch wrote: what they hold, and what is said where somebody edited one."""

import json
import os
from collections.abc import Iterator
from itertools import filterfalse
from pathlib import Path

from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.litter import is_litter

RECORD = ".fetched.json"
"""In the fetched folder: version and options of the source, and the SHA-256 of each file that was written."""
LISTED = 10  # files in a message


def fetched_files(folder: Path) -> dict[str, str] | None:
    """SHA-256 by path of the files that fetch wrote to a folder; None where it did not make it, or says nothing."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return dict(record["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_fetched(folder: Path) -> dict[str, str] | None:
    """The same, after a comparison with the names of the files that are there, which reads none of them.

    Raises:
        DatasetError: some were added or removed.
    """
    written = fetched_files(folder)
    if written is not None:
        there = {path for path, _ in files_of(folder)}
        changes = dict.fromkeys(there - written.keys(), "added") | dict.fromkeys(written.keys() - there, "removed")
        if changes:
            raise edited(folder, changes)
    return written


def files_of(folder: Path) -> Iterator[tuple[str, str]]:
    """Each file and symlink below a fetched folder but litter and the record: relative to the folder, and on disk."""
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_litter(name)]
        links = (name for name in folders if os.path.islink(os.path.join(place, name)))
        for name in (*links, *filterfalse(is_litter, files)):
            path = os.path.join(place, name)
            yield os.path.relpath(path, folder), path


def edited(folder: Path, changes: dict[str, str]) -> DatasetError:
    """The error of a fetched folder that somebody edited.

    Args:
        changes: "added", "changed" or "removed" by path.
    """
    kinds = [f"  {printable(path)} ({change})" for path, change in sorted(changes.items())]
    listing = "\n".join(kinds[:LISTED] + ([f"  ... and {len(kinds) - LISTED} more"] if len(kinds) > LISTED else []))
    return DatasetError(f"{folder} was edited after it was fetched:\n{listing}\n{advice(folder)}")


def advice(folder: Path) -> str:
    """How to keep what somebody put into a folder that is DVC's to restore."""
    return (
        f"Nothing was changed. To keep these images as a dataset of your own: `mv {folder} {folder}-mine`, "
        f"`dvc add {folder}-mine`, and set data.name to {folder.name}-mine in params.yaml. Do so before `dvc exp run` "
        f"and `dvc exp apply`, which put the original back unasked. To get it back yourself: move or remove {folder}, "
        "then `dvc repro`."
    )
