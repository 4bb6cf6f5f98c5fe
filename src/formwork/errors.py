"""The errors that a user can do something about, and how a command reports them."""

import os
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from io import TextIOWrapper
from signal import SIGTERM

from formwork import signals


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
    """Run a stage or a tool; report what the user can mend in plain words, without a traceback, and exit with 1.

    A signal ends it with 128 + n, see formwork.signals; and as a stage of DVC it gets a SIGTERM when DVC ends.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: file names need not be text
    if "DVC_STAGE" in os.environ:  # nobody would look at what a stage makes without DVC
        signals.end_with_parent(SIGTERM)
    try:
        with signals.raised():
            command()
    except FormworkError as error:
        _close_bars()
        if not signals.received():
            sys.exit(f"ERROR: {error}")
        print(f"ERROR: {error}", file=sys.stderr)
    except KeyboardInterrupt as error:
        _close_bars()
        signals.end(error)
    except BaseException:
        if not signals.received():
            raise
    if number := signals.received():  # its exception was lost in a destructor, or in another one
        signals.end(signals.Interrupted(number))


def _close_bars() -> None:
    """Take away progress bars, those that libraries draw, too: what follows stands on a line of its own."""
    if "tqdm" in sys.modules:
        for bar in list(sys.modules["tqdm"].tqdm._instances):
            bar.leave = False
            bar.close()
