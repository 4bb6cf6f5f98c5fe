"""Several processes that train together: all come, all have the same, and what ends one of them ends all.

They speak through the store of torch.distributed: a server of keys and values in the process of rank 0, or in its
torchrun.
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from formwork import signals
from formwork.errors import FormworkError, say
from formwork.escapes import printable
from formwork.launch import Process
from formwork.startup import large_imports

if TYPE_CHECKING:
    from torch.distributed import Store

WAIT = "FORMWORK_JOIN_SECONDS"  # environment variable: how long the first process waits for the last
WAIT_SECONDS = 300.0
LOOK_SECONDS = 0.5  # between two looks at what the others have said
PATIENCE_SECONDS = 10.0  # for the first process to say what ends all
LISTED = 3  # differences in a message
GONE = "A process of the training has ended without a word, often for lack of memory."
AGAIN = "The next run goes on from the last checkpoint, if there is one."


class Meeting:
    """`with Meeting(process) as meeting:` around all that a process does. The block begins when all have come.

    An error in the block ends all processes, and the first one says it, once. Without `process`, of a training that
    was started as one process, it does nothing.

    Attributes:
        first: this is the process that speaks to the user.
        on_signal: called in a thread with the number of a signal that another process got.
    """

    def __init__(self, process: Process | None):
        self.process = process
        self.first = process is None or process.rank == 0
        self.on_signal: Callable[[int], None] | None = None
        self.done = threading.Event()
        self.signalled = False  # this process knows of the signal that ends all

    def __enter__(self) -> "Meeting":
        if self.process:
            self.store = self._connect(self.process)
            self._arrive(self.process)
            self.watcher = threading.Thread(target=self._watch, args=[self.process], name="meeting", daemon=True)
            self.watcher.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if not self.process:
            return
        self.done.set()
        self.watcher.join()  # if it ends all, it never returns
        with suppress(RuntimeError, FormworkError):  # the process that serves has ended: nobody is there to tell
            if not self.first:
                self._leave(self.process, error)
            elif error is not None:
                self._end_all(self.process, error)
        if isinstance(error, signals.Interrupted) and not self.first:
            raise signals.Interrupted(error.number, "")

    # --- Coming together ---

    def _connect(self, process: Process) -> "Store":
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a connection that ends is told in our words
        with large_imports():
            from torch.distributed import TCPStore

        seconds = wait_seconds()
        serves = process.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        place = f"{printable(process.address)}:{process.port}"
        try:
            if serves:
                socket.getaddrinfo(process.address, process.port)
            else:
                _reach(process, seconds)
            return TCPStore(
                process.address,
                process.port,
                process.world_size,
                is_master=serves,
                timeout=timedelta(seconds=seconds),
                wait_for_workers=False,
                multi_tenant=True,  # torch.distributed opens it a second time
            )
        except (OSError, RuntimeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            reason = f"{reason.partition(chr(10))[0].rstrip('.')}."
            if serves:
                raise FormworkError(
                    f"The other processes cannot reach the first one at {place}: {reason} Set MASTER_ADDR to the name"
                    " of its node, and MASTER_PORT to a port that is free there."
                ) from error
            raise FormworkError(
                f"Process {process.rank} of {process.world_size}, on {socket.gethostname()}, has not reached the first "
                f"one at {place} in {seconds:g} s: {reason} Was it started, and is MASTER_ADDR its node? {WAIT} sets "
                "another time."
            ) from error

    def _arrive(self, process: Process) -> None:
        seconds = wait_seconds()
        others = range(1, process.world_size)
        if not self.first:
            self.store.set(f"formwork/here/{process.rank}", _here(process))
            if not self._wait(["formwork/all here"], seconds + PATIENCE_SECONDS):
                raise FormworkError(
                    f"The first of {process.world_size} processes has not come in {seconds:g} s, says the one of rank "
                    f"{process.rank}, on {socket.gethostname()}. Its node says why."
                )
            if self.store.get("formwork/all here") != b"yes":
                sys.exit(1)
            return
        came = self._wait([f"formwork/here/{rank}" for rank in others], seconds)
        self.store.set("formwork/all here", "yes" if came else "no")
        if not came:
            missing = [rank for rank in others if not self.store.check([f"formwork/here/{rank}"])]
            time.sleep(1)  # in which the others hear of it
            raise FormworkError(
                f"Of {process.world_size} processes {len(missing)} did not come in {seconds:g} s: rank "
                f"{', '.join(map(str, missing[:8]))}{', ...' if len(missing) > 8 else ''}. Start all nodes within that "
                f"time, or set {WAIT} to a longer one; the output of their nodes says why they failed."
            )

    def agree(self, find_facts: Callable[[], Mapping[str, str]], word: str = "") -> str:
        """Whether all processes have the same: each calls it once.

        Args:
            find_facts: gives, by the name of each thing, what this process has of it: a short value, or a digest.
            word: something that the first process tells the others.

        Returns:
            That of the first process.

        Raises:
            FormworkError: something differs; in the first process.
        """
        if not self.process or self.process.world_size == 1:
            return word
        facts = find_facts()
        if not self.first:
            self.store.set(f"formwork/facts/{self.process.rank}", json.dumps([_here(self.process), facts]))
            if not self._wait(["formwork/agreed"], wait_seconds()):
                raise FormworkError("The first process has not said in time that all have the same. Its node says why.")
            return self.store.get("formwork/agreed").decode()
        keys = [f"formwork/facts/{rank}" for rank in range(1, self.process.world_size)]
        if not self._wait(keys, wait_seconds()):
            late = [str(rank) for rank, key in enumerate(keys, start=1) if not self.store.check([key])]
            raise FormworkError(f"Rank {', '.join(late)} has not read its data in {wait_seconds():g} s.")
        for key in keys:
            where, theirs = json.loads(self.store.get(key))
            if theirs != facts:
                raise FormworkError(_differences(_here(self.process), facts, where, theirs))
        self.store.set("formwork/agreed", word)
        return word

    def _wait(self, keys: list[str], seconds: float) -> bool:
        """Whether all keys are there in time. The store's own wait would keep the thread that watches out of it."""
        end = time.monotonic() + seconds
        try:
            while not self.store.check(keys):
                if time.monotonic() > end:
                    return False
                time.sleep(0.1)
        except RuntimeError as error:
            raise FormworkError(f"{GONE} {AGAIN}") from error
        return True

    # --- Ending together ---

    def tell_signal(self, number: int) -> None:
        """Tell all others of a signal, and wait until they have heard of it."""
        if self.process:
            self.signalled = True
            with suppress(RuntimeError):
                self.store.set("formwork/signal", str(number))
            time.sleep(2 * LOOK_SECONDS)

    def _leave(self, process: Process, error: BaseException | None) -> None:
        """End a process that is not the first, which is to say why, if it ends by an error."""
        if isinstance(error, Exception):
            words = str(error) if isinstance(error, FormworkError) else f"{type(error).__name__}: {error}"
            self.store.compare_set("formwork/failed", "", json.dumps([_here(process), words]))
        elif isinstance(error, signals.Interrupted):
            self.store.set("formwork/signal", str(int(error.number)))
        told = error is not None and self._wait(["formwork/told"], PATIENCE_SECONDS)
        if told and isinstance(error, FormworkError | signals.Interrupted | SystemExit):
            self._exit_as_told(process)
        self.store.set(f"formwork/gone/{process.rank}", "")

    def _exit_as_told(self, process: Process) -> NoReturn:
        """At once: other threads may wait for processes that have ended."""
        status = int(self.store.get("formwork/told"))
        self.store.set(f"formwork/gone/{process.rank}", "")
        sys.stdout.flush()
        os._exit(status)

    def _end_all(self, process: Process, error: BaseException) -> None:
        """In the first process: say an error or a signal, and end the others. It ends as the last one, as srun ends all
        others when one of them has failed."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signals.ENDING)
        status = 1
        if isinstance(error, FormworkError):
            say(str(error))
        elif isinstance(error, signals.Interrupted):
            status = 128 + error.number
            sys.stdout.flush()
            print(error.message, file=sys.stderr, flush=True)
        self.store.set("formwork/told", str(status))
        with suppress(FormworkError):
            self._wait([f"formwork/gone/{rank}" for rank in range(1, process.world_size)], 4 * LOOK_SECONDS)
        if isinstance(error, FormworkError | signals.Interrupted):
            os._exit(status)

    def _watch(self, process: Process) -> None:
        """Until this process is done, do what the others have to tell."""
        try:
            while not self.done.wait(LOOK_SECONDS):
                if not self.signalled and self.store.check(["formwork/signal"]):
                    self.signalled = True
                    number = int(self.store.get("formwork/signal"))
                    (self.on_signal or _send_to_self)(number)
                if self.first and self.store.check(["formwork/failed"]) and not self.done.wait(2 * LOOK_SECONDS):
                    where, words = json.loads(self.store.get("formwork/failed"))  # not met by this process as well
                    self._end_all(process, FormworkError(f"{where}: {words}"))
                if not self.first and self.store.check(["formwork/told"]):
                    self._exit_as_told(process)
        except RuntimeError:  # the first process has ended; what this one waits for fails, too
            return


def wait_seconds() -> float:
    value = os.environ.get(WAIT, str(WAIT_SECONDS))
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise FormworkError(f"{WAIT} in the environment is {value!r}, and must be a number of seconds.")
    return seconds


def _reach(process: Process, seconds: float) -> None:
    """Wait until something listens where the first process is to be: torch would fill the output with its attempts.

    Raises:
        OSError: nothing does.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((process.address, process.port), timeout=max(end - time.monotonic(), 0.1)).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def _send_to_self(number: int) -> None:
    os.kill(os.getpid(), number)


def _here(process: Process) -> str:
    """Where a process is, in words."""
    return f"node {process.node} ({socket.gethostname()}, {Path.cwd()}, rank {process.rank})"


def _differences(here: str, ours: Mapping[str, str], there: str, theirs: Mapping[str, str]) -> str:
    lines = []
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name, "missing"), theirs.get(name, "missing")
        if one != other:
            lines.append(f"  {name}: {one} and {other}")
    more = [f"  ... and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    head = f"Every node needs the same params, code and data, and {printable(here)} and {printable(there)} differ in:"
    end = "Bring both to one state by `git pull` and `dvc pull`, or let them share one folder."
    return "\n".join([head, *lines[:LISTED], *more, end])
