"""Commands and workers that run for long, and how they are ended with all that they started."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from types import FrameType

from formwork import signals
from formwork.errors import FormworkError

CLEAN_UP_SECONDS = 20  # that an interrupted command has to end by itself
LOOK_SECONDS = 0.5  # between two looks at what a command does meanwhile
SHOWN_LINES = 15  # of a failed command
SHOWN_BYTES = 4096  # of the end of a log, in which its last line is
TETHER = (
    "import sys; sys.path.insert(0, sys.argv[1]); from formwork.processes import tethered; "
    "tethered(int(sys.argv[2]), sys.argv[3:])"
)
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours, and moves of the cursor


def end_group(process: subprocess.Popen, seconds: float = 0) -> None:
    """End a process that was started with `start_new_session`, and all processes of its group.

    Args:
        seconds: that it has to clean up after an interrupt, as by Ctrl-C, before it is killed; 0: it is killed at once.
    """
    if seconds:
        _signal_group(process, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: kill it at once
            process.wait(seconds)
    _signal_group(process, signal.SIGKILL)
    process.wait()


def _signal_group(process: subprocess.Popen, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # all of it has ended
        os.killpg(process.pid, number)


def start_fork_server() -> None:
    """Start what multiprocessing starts workers by: a signal to the whole group does not end it while this process puts
    things away, and it removes without a word what a process leaves that ends at once."""
    quiet = "ignore::UserWarning:multiprocessing.resource_tracker"
    sys.warnoptions.append(quiet)  # they are passed on
    try:
        for start in (resource_tracker.ensure_running, forkserver.ensure_running):
            with signals.kept_from_children():  # for each: the first lets Ctrl-C through again
                start()
    finally:
        sys.warnoptions.remove(quiet)


def run_logged(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str],
    log: Path,
    hold: int,
    meanwhile: Callable[[], None] | None = None,
) -> str:
    """Run a command to its end: its output goes to a file, its last line to the terminal, and Ctrl-C ends all of it.

    On Linux it ends in the same way where this process is killed.

    Args:
        log: the output goes there while the command runs.
        hold: a file descriptor that the command keeps open as long as it lives, whatever becomes of this process.
        meanwhile: called twice a second or so while it runs; what it raises ends the command as Ctrl-C does.

    Returns:
        The output.

    Raises:
        FormworkError: it failed; with its last lines.
        KeyboardInterrupt: Ctrl-C; the command and all that it started have ended.
    """
    with (
        log.open("wb") as file,
        subprocess.Popen(
            [sys.executable, "-c", TETHER, str(Path(__file__).parents[1]), str(os.getpid()), *command],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,  # and no pipe, which would break where this process is killed
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[hold],
        ) as process,
    ):
        try:
            while (status := _wait(process, LOOK_SECONDS)) is None:
                _show(last_lines(_end_of(log), 1))
                if meanwhile:
                    meanwhile()
        except BaseException:
            end_group(process, CLEAN_UP_SECONDS)
            raise
        finally:
            _show([])
    printed = log.read_bytes().decode(errors="replace")
    if status:
        lines = "\n".join(f"  {line}" for line in last_lines(printed, SHOWN_LINES))
        raise FormworkError(
            f"`{' '.join(command[2:])}` failed. Its last lines:\n{lines}\nAll of it: `less -R {log}`"  # python -m
        )
    return printed


def _wait(process: subprocess.Popen, seconds: float) -> int | None:
    """The status of a process that ends within so many seconds."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(seconds)
    return None


def _end_of(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - SHOWN_BYTES))
        return file.read().decode(errors="replace")


def tethered(parent: int, command: Sequence[str]) -> None:
    """Run a command in the group of this process, and end it as Ctrl-C does when `parent` is gone, which could not: it
    was killed. This process then waits until all that the command started has ended, and holds its locks so long."""
    told: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if not told:  # Linux sends it for each thread of the parent that ends, and a second SIGINT ends a stage at once
            os.killpg(0, signal.SIGINT)
        told.append(number)

    # Handlers, because a signal that is ignored would be so in the command, too.
    signal.signal(signal.SIGINT, lambda *_: None)  # of the whole group: the command answers it
    signal.signal(signal.SIGTERM, end)
    signals.adopt_orphans()
    signals.end_with_parent(signal.SIGTERM)
    if os.getppid() != parent:  # it was gone before
        return
    status = subprocess.call(command, close_fds=False)
    with suppress(ChildProcessError):  # there is none left
        while told:
            os.wait()  # a stage that puts things away, while DVC is gone already
    sys.exit(status)


def last_lines(output: str, number: int) -> list[str]:
    """The last lines that a terminal shows: the last version of a line that was written over, and no empty ones."""
    lines = (ESCAPES.sub("", line).rstrip().rsplit("\r", 1)[-1] for line in output.split("\n"))
    return [line for line in lines if line.strip()][-number:]


def _show(lines: Sequence[str]) -> None:
    """Show one line of a terminal in the place of the one before; none takes it away."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        text = lines[0].strip()[:width] if lines else ""
        print(f"\r\x1b[K{text}", end="", flush=True)
