"""A process of a Dask worker that runs tasks, with the code of the workspace that they come from.

Messages are a length of 8 bytes and a pickle. The first says what must be in common; its answer is what is not.
"""

import os
import pickle
import resource
import select
import signal
import traceback
from typing import BinaryIO

from formwork import signals
from formwork.cluster.agreement import disagreements

IDLE_SECONDS = 60  # without a task, after which the process ends: the session may have been killed


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals.end_with_parent(signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a library that crashes leaves nothing in the repository
    source, answers = os.fdopen(os.dup(0), "rb", buffering=0), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a task prints goes to the worker's log
    expected = _receive(source)
    if expected is None:
        return
    try:
        found = disagreements(pickle.loads(expected))
    except ImportError as error:
        found = [f"lacks a package: {error}"]
    _send(answers, pickle.dumps(found))
    while (payload := _receive(source)) is not None:
        _send(answers, _outcome(payload))


def _outcome(payload: bytes) -> bytes:
    try:
        function, arguments = pickle.loads(payload)
        return pickle.dumps(("done", function(*arguments)))
    except Exception as error:
        text = traceback.format_exc()
        return _pickled(error, text)


def _pickled(error: Exception, text: str) -> bytes:
    try:
        pickle.loads(message := pickle.dumps(("raised", error, text)))
    except Exception:  # one that cannot travel
        return pickle.dumps(("raised", RuntimeError(f"{type(error).__name__}: {error}"), text))
    return message


def _receive(source: BinaryIO) -> bytes | None:
    """The next message; None at the end of them, or after IDLE_SECONDS without one."""
    if not select.select([source], [], [], IDLE_SECONDS)[0]:
        return None
    size = _read(source, 8)
    return None if size is None else _read(source, int.from_bytes(size, "big"))


def _read(source: BinaryIO, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        part = source.read(size - len(data))
        if not part:
            return None
        data += part
    return bytes(data)


def _send(answers: BinaryIO, message: bytes) -> None:
    answers.write(len(message).to_bytes(8, "big") + message)
    answers.flush()
