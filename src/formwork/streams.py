"""The standard streams of a command, which may be closed, full, or read by nobody any more."""

import os
import select
import sys
from contextlib import suppress
from io import TextIOWrapper

NAMES = ("stdin", "stdout", "stderr")


def make_usable() -> None:
    """Open those that are closed, on nothing: or the next file would get their place, and what is printed."""
    for name in NAMES:
        if getattr(sys, name) is None:
            stream = open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8")  # noqa: SIM115
            os.set_inheritable(stream.fileno(), True)  # as the lowest that is free, it has the number of the stream
            setattr(sys, name, stream)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: file names need not be text


def flush() -> None:
    """Write what is printed but not written yet.

    Raises:
        OSError: it cannot be; the name of the stream stands for that of the file.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        error.filename = "stdout"
        raise


def left_unread() -> bool:
    """Whether one of them is a pipe whose reader has gone, as `head` goes when it has enough."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(stream.fileno(), 0)
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                return True
    return False


def discard() -> None:
    """Write what is printed, and let what cannot be written go nowhere: Python would try once more, and complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
