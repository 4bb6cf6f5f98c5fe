"""The parts of an earlier version of a beton, which a new version can share."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from formwork.beton.read import PARTS

MADE_BY = "made_by.json"  # in a folder of parts


@dataclass(frozen=True)
class Earlier:
    """An earlier version.

    Attributes:
        parts: where each part lies, by name.
        made_by: what MADE_BY says; {} where nobody knows.
    """

    parts: dict[str, Path] = field(default_factory=dict)
    made_by: dict[str, Any] = field(default_factory=dict)


def find_earlier(path: Path) -> Earlier:
    """The earlier version of the folder of parts `path`; an empty one where there is none."""
    if not path.is_dir():
        return Earlier()
    try:
        made_by = json.loads((path / MADE_BY).read_bytes())
    except (OSError, ValueError):
        return Earlier()
    return Earlier({part.name: part for part in path.glob(PARTS)}, made_by)


def place(source: Path, target: Path) -> None:
    """Put an earlier part into a new folder."""
    os.link(source, target)


def remove_parts(path: Path) -> None:
    """Remove a folder of parts, so that a file can be written in its place; leave any other folder."""
    if path.is_dir() and not path.is_symlink() and (path / MADE_BY).is_file():
        for file in (*path.glob(PARTS), path / MADE_BY):
            file.unlink()
        with suppress(OSError):  # something of the user's is in it
            path.rmdir()
