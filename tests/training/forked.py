"""src/train.py in a process of its own that need not import anything: a copy of this one."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from formwork.errors import run
from formwork.folders import Folders
from formwork.launch import this_process
from formwork.meeting import Meeting
from formwork.params import load_params
from formwork.signals import ENDING
from formwork.training.fit import train
from formwork.training.interruption import Interruption
from formwork.yaml import dump_yaml
from tests.processes import TIMEOUT, wait_for
from tests.training.conftest import folders_of, merged

Hook = Callable[[], None]


def start(workspace: Path, hook: Hook = lambda: None, **sections: dict) -> tuple[int, int]:
    """Train in `workspace`, after `hook` has changed something there; gives the process id, and where its output is."""
    (workspace / "params.yaml").write_text(dump_yaml(merged(**sections)))
    reading, writing = os.pipe()
    if process := os.fork():
        os.close(writing)
        return process, reading
    try:
        os.setsid()
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        os.chdir(workspace)
        torch.set_num_threads(1)  # those of this process are gone
        hook()
        folders: Folders = folders_of(Path())

        def command() -> None:
            with Meeting(this_process()) as meeting:
                train(load_params(), folders, Path("models/best.pt"), Path("train"), Path("speed"), meeting)

        run(command)
        sys.stdout.flush()
        os._exit(0)
    except SystemExit as error:
        print(error.code if isinstance(error.code, str) else "", file=sys.stderr, flush=True)
        os._exit(error.code if isinstance(error.code, int) else 1)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(99)


def finish(process: int, reading: int) -> tuple[int, str]:
    """Wait for the process and all that it started: exit status, and output."""
    output, deadline = b"", time.monotonic() + TIMEOUT
    while True:
        if not select.select([reading], [], [], max(deadline - time.monotonic(), 0))[0]:
            os.killpg(process, signal.SIGKILL)
        if not (part := os.read(reading, 65536)):
            break
        output += part
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), output.decode()


def note_signals(patch: Callable[[object, str, object], None]) -> Callable[[], object]:
    """A function that waits until a training that starts from now on knows of a signal.

    A thread of its own hears signals: on a busy machine, steps later.

    Args:
        patch: setattr, or one that is taken back.
    """
    told: list[Interruption] = []
    original = Interruption._heard

    def note(interruption: Interruption, number: int) -> None:
        told.append(interruption)
        original(interruption, number)

    patch(Interruption, "_heard", note)
    return lambda: wait_for(lambda: told and told[0].number)
