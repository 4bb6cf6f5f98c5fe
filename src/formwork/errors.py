"""The errors that a user can do something about, and how a command reports them."""

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from difflib import get_close_matches
from signal import SIGPIPE

from formwork import limits, signals, streams
from formwork.escapes import printable_lines


class FormworkError(Exception):
    """A mistake or fault whose message names the file, key or command and says what to do next."""


class ParamsError(FormworkError):
    """params.yaml holds something that cannot be used.

    Attributes:
        keys: those that are refused, by dotted name, as far as they are known.
        undo_is_known: the message says already how to take them back, where there is a way.
    """

    undo_is_known = False

    def __init__(self, message: str, *keys: str):
        super().__init__(message)
        self.keys = keys


class DatasetError(FormworkError):
    """Raw images or a manifest are missing, unreadable or contradict each other."""


class BetonError(FormworkError):
    """A beton is missing, unreadable, damaged or does not belong to its manifest."""


class ClusterError(FormworkError):
    """The cluster of params.yaml cannot be reached or was lost, or none of its workers can be used."""


class AugmentationError(ParamsError):
    """An operation of an augmentation list is unknown or wrongly configured."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence naming the known word nearest to `word`, or all of them where none is near."""
    known = sorted(known)
    near = get_close_matches(str(word), known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."


def run(command: Callable[[], None]) -> None:
    """Run a stage or a tool; report what the user can mend in plain words, without a traceback, and exit with 1.

    So is what the system refuses, see formwork.limits. Where nobody reads the output any more, as after `| head -1`,
    the status is that of SIGPIPE. A signal ends it with 128 + n, see formwork.signals; and as a stage of DVC it gets a
    SIGTERM when DVC ends.
    """
    streams.make_usable()
    if "DVC_STAGE" in os.environ:
        signals.end_with_dvc()
    try:
        with signals.raised():
            command()
            streams.flush()
    except FormworkError as error:
        _fail(str(error))
    except KeyboardInterrupt as error:
        _close_bars()
        signals.end(error)
    except BaseException as error:
        if not signals.received():
            if isinstance(error, BrokenPipeError) and streams.left_unread():
                streams.discard()
                sys.exit(128 + SIGPIPE)
            if message := limits.explain(error):
                _fail(message)
            raise
    if number := signals.received():  # its exception was lost in a destructor, or in another one
        signals.end(signals.Interrupted(number))


def say(message: str) -> None:
    """Say what is wrong: after all that was printed, and in the place of progress bars."""
    _close_bars()
    streams.discard()  # what was printed stands before it, where both go to one place
    with suppress(OSError):  # nobody listens
        print(f"ERROR: {printable_lines(message)}", file=sys.stderr, flush=True)


def _fail(message: str) -> None:
    """Say what is wrong, and exit; but where a signal has come before, that is how the process ends."""
    say(message)
    if not signals.received():
        streams.discard()
        sys.exit(1)


def _close_bars() -> None:
    """Take away progress bars, those that libraries draw, too: what follows stands on a line of its own."""
    if "tqdm" in sys.modules:
        for bar in list(sys.modules["tqdm"].tqdm._instances):
            bar.leave = False
            bar.close()
