"""What a signal does to a training: a checkpoint after the running step, one line, and 128 + n."""

import os
import signal
import time
from types import TracebackType

from formwork import signals
from formwork.training.ranks import MEANT, TOLD, Ranks


class Stopped(Exception):
    """Ends Lightning's fit, which takes KeyboardInterrupt and SystemExit for its own."""


class Interruption:
    """`with interruption:` around a training, in each of its processes.

    A signal before the first step ends it at once, as there is nothing to save; a later one is remembered, and whoever
    looks at `number` ends the training. A second one ends it at once.

    Attributes:
        number: of the signal that is to end the training, once one has come; else 0.
        steps: there are steps to save.
        outcome: what is said of it, after the name of the signal.
    """

    def __init__(self, ranks: Ranks):
        self.ranks = ranks
        self.number = 0
        self.at = 0.0
        self.steps = False
        self.outcome = "no step was done. The next run starts as this one did."

    def __enter__(self) -> "Interruption":
        self.watched = signals.watched(self._heard, MEANT)
        self.watched.__enter__()
        self.ranks.meeting.on_signal = lambda number: os.kill(os.getpid(), TOLD.get(number, number))
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.ranks.meeting.on_signal = None
        self.watched.__exit__(None, None, None)
        ours = error is None or isinstance(error, Stopped) or self.ranks.lost(error)
        if self.number and ours:
            raise self.error() from error

    def begin(self) -> None:
        """From here on there are steps to save."""
        self.steps = True
        self.outcome = "no checkpoint could be written; the next run goes on from the one before."

    def error(self) -> signals.Interrupted:
        name = signal.Signals(self.number).name
        return signals.Interrupted(self.number, f"Received {name}: {self.outcome}" if self.ranks.first else "")

    def _heard(self, number: int) -> None:
        """In a thread of its own, at once."""
        told = number in MEANT
        number = MEANT.get(number, number)
        if not self.number:
            self.number, self.at = number, time.monotonic()
            self.ranks.tell(number, told)
            if not self.steps:
                signals.end(self.error())
        elif not told and time.monotonic() - self.at > signals.AGAIN_SECONDS:
            first, self.number = signal.Signals(self.number).name, number
            self.outcome = f"ended at once, after {first}; the next run goes on from the checkpoint before."
            signals.end(self.error())
