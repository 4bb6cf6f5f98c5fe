"""Files that DVC cannot hash: it stops at the first of them, mostly without its name, or waits for ever.

So they are looked for before DVC is: by the stage that checks everything, and by `make doctor`.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from formwork.escapes import is_text, printable, shell_word

LISTED = 5  # files in a message


@dataclass(frozen=True, slots=True)
class Obstacle:
    """path: on disk. reason: what is wrong with it, in words. command: what mends it."""

    path: str
    reason: str
    command: str


def find_obstacles(folder: Path, seconds: float = float("inf")) -> Iterator[Obstacle]:
    """All of a folder, or those that are found in so many seconds. Links to folders are not followed, as by DVC.

    Folders that cannot be read are passed over: they have errors of their own.
    """
    stop = time.monotonic() + seconds
    waiting = [os.fspath(folder)]
    while waiting and time.monotonic() < stop:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if not is_text(entry.name):
                        command = f"mv -n {shell_word(entry.path)} {shell_word(_in_utf8(entry.path))}"
                        yield Obstacle(entry.path, "the name is no UTF-8", command)
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif fault := _fault(entry):
                        yield Obstacle(entry.path, fault, f"rm {shell_word(entry.path)}")
        except OSError:
            continue


def describe(obstacles: Iterator[Obstacle] | list[Obstacle], folder: Path) -> str | None:
    """What is said of the obstacles in a folder; None where there are none."""
    found = list(obstacles)
    if not found:
        return None
    lines = [f"  {printable(o.path)}: {o.reason}: `{o.command}`" for o in found[:LISTED]]
    if len(found) > LISTED:
        lines.append(f"  ... and {len(found) - LISTED} more")
    names = [o for o in found if "UTF-8" in o.reason]
    if len(names) > 1:
        lines.append(
            f"All names at once: `convmv -r -f {_encoding(names[0].path)} -t utf8 --notest {shell_word(folder)}`."
        )
    return "\n".join([f"DVC stops at files like these in {printable(folder)}:", *lines])


def _fault(entry: os.DirEntry[str]) -> str | None:
    try:
        if entry.is_file():  # of most file systems, the folder itself says so
            return None
        if not entry.is_symlink():
            return "a pipe, socket or device is no file"
        return None if os.path.exists(entry.path) else "a link to nothing"
    except OSError:
        return "a link that leads round in a circle"


def _encoding(path: str) -> str:
    """The encoding of a name, as is most likely: bytes from 80 to 9F are control characters in Latin-1."""
    raw = os.fsencode(path)
    for encoding in ("latin-1", "cp932", "gbk"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any("\x80" <= character <= "\x9f" for character in text):
            return encoding
    return "cp1252"


def _in_utf8(path: str) -> str:
    """The path with the last name in UTF-8."""
    folder, name = os.path.split(path)
    return os.path.join(folder, os.fsencode(name).decode(_encoding(name), "replace"))
