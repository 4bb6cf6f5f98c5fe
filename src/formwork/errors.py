"""The errors that a user can do something about, and how a command reports them."""

import os
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from io import TextIOWrapper


class FormworkError(Exception):
    """A mistake or fault whose message names the file, key or command and says what to do next."""


class ParamsError(FormworkError):
    """params.yaml holds something that cannot be used."""


class DatasetError(FormworkError):
    """Raw images or a manifest are missing, unreadable or contradict each other."""


class BetonError(FormworkError):
    """A beton is missing, unreadable, damaged or does not belong to its manifest."""


class AugmentationError(ParamsError):
    """An operation of an augmentation list is unknown or wrongly configured."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence naming the known word nearest to `word`, or all of them where none is near."""
    known = sorted(known)
    near = get_close_matches(str(word), known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def run(command: Callable[[], None]) -> None:
    """Run a stage or a tool; report what the user can mend in plain words, without a traceback, and exit with 1."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: file names need not be text
    try:
        command()
    except FormworkError as error:
        sys.exit(f"ERROR: {error}")
    except KeyboardInterrupt:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)  # at once: an exit by sys would wait for threads in the middle of a read
