"""Signals that ask a process to end: Ctrl-C, a terminal that closes, `kill`, `timeout`, a cluster whose time is up, the
end of the CPU time.

A process ends with status 128 + n, after one line, and after it has put away what it was doing. What ignores a signal
from the start, as under nohup, goes on ignoring it.
"""

import ctypes
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
AGAIN_SECONDS = 0.3  # a request to end may come as several signals: `timeout` sends two, and the end of DVC one more
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # of Linux's prctl
SHELLS = {"sh", "ash", "bash", "busybox", "dash", "fish", "ksh", "zsh"}
LEADER = "FORMWORK_LEADER"  # environment variable: the id of a process whose children leave it to it to speak


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end: as by Ctrl-C, whatever the signal.

    Attributes:
        number: the signal.
        message: the line for the user, or "".
    """

    def __init__(self, number: int, message: str | None = None):
        self.number = signal.Signals(number)
        self.message = f"Received {self.number.name}: stopped." if message is None else message
        super().__init__(self.message)


class _State:
    """Of this process.

    Attributes:
        received, at: the first signal, and when, by time.monotonic.
        holds: how many blocks hold signals back.
    """

    received: signal.Signals | None = None
    at = 0.0
    holds = 0


def received() -> signal.Signals | None:
    """The signal that asked this process to end, if one did."""
    return _State.received


def led() -> bool:
    """Whether the parent of this process speaks for it."""
    return os.environ.get(LEADER) == str(os.getppid())


@contextmanager
def raised() -> Iterator[None]:
    """`with raised():` a signal raises Interrupted in the main thread, and so does each later one."""
    with _handled():
        yield


@contextmanager
def held() -> Iterator[None]:
    """`with held():` a signal is only remembered, see received(); a second one ends the process at once.

    Raises:
        Interrupted: at the end of the block, if a signal came and the block ends without another exception.
    """
    with _handled():
        _State.holds += 1
        try:
            yield
        finally:
            _State.holds -= 1
        if _State.received and not _State.holds:
            raise Interrupted(_State.received)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """`with kept_from_children():` processes that start in it never get the signals that a terminal or a cluster sends
    to a whole group: for those of libraries, which would die while their parent needs them to put things away."""
    block = [number for number in ENDING if number != signal.SIGTERM]  # by which the parent ends them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, block)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # what came meanwhile is handled now


@contextmanager
def watched(heard: Callable[[int], None], others: Iterable[int] = ()) -> Iterator[None]:
    """`with watched(heard):` each signal calls heard(number) in a thread of its own, and does nothing else.

    At once, even where the main thread is in compiled code that takes long, or waits for another process for ever.

    Args:
        others: signals that are watched, too, beside those that ask a process to end.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def listen() -> None:
        while number := os.read(reading, 1)[0]:
            if number in numbers:
                heard(number)

    before = {number: signal.getsignal(number) for number in (*ENDING, *others)}
    numbers = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    old = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        with _handlers(numbers, _nothing):
            yield
    finally:
        signal.set_wakeup_fd(old)
        os.write(writing, b"\0")
        thread.join()
        os.close(reading)
        os.close(writing)


def _nothing(number: int, frame: FrameType | None) -> None:
    """The handler of a signal that is watched: the system tells the thread of it."""


@contextmanager
def _handled() -> Iterator[None]:
    """Handle signals that nobody ignores or handles; in the main thread, the only one that can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ENDING}
    if not any(handler is _handle for handler in before.values()):
        _State.received = None
    ours = [number for number, handler in before.items() if handler in (signal.SIG_DFL, signal.default_int_handler)]
    with _handlers(ours, _handle):
        yield


@contextmanager
def _handlers(numbers: Iterable[int], handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """`with _handlers(numbers, handler):` these signals have this handler, and afterwards the one before."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _handle(number: int, frame: FrameType | None) -> None:
    now, first = time.monotonic(), _State.received is None
    if not first and now - _State.at < AGAIN_SECONDS:
        return
    if first:
        _State.received, _State.at = signal.Signals(number), now
    if not _State.holds:
        raise Interrupted(number)
    if not first:
        end(Interrupted(number, f"Received {signal.Signals(number).name}, too: ended at once."))


def end(error: KeyboardInterrupt) -> None:
    """End the process at once: an exit by sys would wait for threads in the middle of a read."""
    number = error.number if isinstance(error, Interrupted) else signal.SIGINT
    message = error.message if isinstance(error, Interrupted) else f"Received {number.name}: stopped."
    for stream, text in ((sys.stdout, ""), (sys.stderr, "" if led() else message)):
        with suppress(OSError, ValueError):  # the terminal or the pipe may be gone, which sends signals, too
            stream.write(f"{text}\n" if text else "")
            stream.flush()
    os._exit(128 + number)


def end_with_parent(number: int) -> None:
    """Let the system send a signal to this process when its parent ends, however that ends. On Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(int(number)), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents end, so that they can be waited for. On Linux alone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def end_with_dvc() -> None:
    """Let this stage get a SIGTERM when DVC ends, or the shell in which DVC runs it: nobody would take what it makes.

    On Linux alone.
    """
    parent = os.getppid()
    watched = [parent]
    with suppress(OSError, ValueError, AttributeError):  # no Linux, an old one, or processes that are hidden
        command = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")[0].decode()
        if os.path.basename(command) in SHELLS:
            watched.append(int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[1]))
        ends = [os.pidfd_open(process) for process in watched if process]
        threading.Thread(target=_end_after, args=[ends], name="parent", daemon=True).start()


def _end_after(ends: list[int]) -> None:
    select.select(ends, [], [])
    os.kill(os.getpid(), signal.SIGTERM)


def leave_to_parent() -> None:
    """In a worker process: only its parent ends it, by a SIGTERM of its own or by ending.

    What a terminal, `timeout` or a cluster sends to all processes of a group is the parent's to answer, which may need
    the worker until then.
    """
    for number in ENDING:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    end_with_parent(signal.SIGKILL)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_wait_for_parent, args=[os.getppid()], name="signals", daemon=True).start()


def _wait_for_parent(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)  # as it was asked to: PyTorch takes any other status for a fault


def _in_child() -> None:
    """A forked process is its parent's to end: by SIGTERM, and not by what a terminal sends to all of a group."""
    for number in ENDING:
        if signal.getsignal(number) in (_handle, _nothing):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_in_child)
