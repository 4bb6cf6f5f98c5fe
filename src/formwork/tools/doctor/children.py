"""Processes that find out what might hang this one, or end it: a library that crashes, a remote that does not answer.

They run while other checks do. Each is a function of .probes, which prints its answers as lines of JSON.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from threading import Thread
from typing import Any

from formwork.processes import end_group

SOURCES = Path(__file__).resolve().parents[3]
CLEAN_UP_SECONDS = 2.0  # for the process to end after an interrupt, and for its last output to be read


class Failed(Exception):
    """The process could not answer; with the reason."""


class Child:
    """A process that runs one function of formwork.tools.doctor.probes in the current folder.

    Args:
        keys: of the answers that it will give.
    """

    def __init__(self, function: str, keys: Sequence[str]):
        self._answers: dict[str, Future] = {key: Future() for key in keys}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        paths = [str(SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from formwork.tools.doctor.probes import {function}; {function}()"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            errors="replace",
            start_new_session=True,  # a group of its own, and no terminal to ask for a password on
        )
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def get(self, key: str, seconds: float) -> Any:
        """An answer, once it is there.

        Raises:
            Failed: the function says why it has none, or the process ended without one.
            TimeoutError: there is none within so many seconds.
        """
        try:
            return self._answers[key].result(seconds)
        except FutureTimeoutError as error:  # of its own kind before Python 3.11
            raise TimeoutError(f"no answer within {seconds:g} s") from error

    def close(self) -> None:
        """End the process, and what it started: first by an interrupt, at which DVC takes its locks back."""
        if self._reader.is_alive():  # somebody can write to the pipe, so the group is still ours
            end_group(self._process, CLEAN_UP_SECONDS)
        self._reader.join(CLEAN_UP_SECONDS)
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                try:
                    key, value, fault = json.loads(line)
                    answer = self._answers[key]
                except (ValueError, KeyError, TypeError):  # what a library printed
                    continue
                if fault is None:
                    answer.set_result(value)
                else:
                    answer.set_exception(Failed(fault))
        reason = self._end()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(Failed(reason))

    def _end(self) -> str:
        """How the process ended, and the last thing that it said."""
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return f"{how}: {said[-1]}" if said else how
