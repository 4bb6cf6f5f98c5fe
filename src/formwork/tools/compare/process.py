"""Running a long command: its output goes to a file, its last line to the terminal, and Ctrl-C ends all of it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from formwork.errors import FormworkError

PATIENCE = 20  # seconds that an interrupted command has to clean up
TAIL = 15  # lines of a failed command that are shown
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # colours, and moves of the cursor


def run_logged(command: Sequence[str], folder: Path, env: Mapping[str, str], log: Path, hold: int) -> str:
    """Run a command to its end; gives what it printed.

    Args:
        log: gets the same, while the command runs.
        hold: a file descriptor that it keeps open as long as it lives, whatever becomes of this process.

    Raises:
        FormworkError: it failed; with its last lines.
        KeyboardInterrupt: Ctrl-C; the command and all that it started have ended.
    """
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, which ends as one
            pass_fds=[hold],
        )
        try:
            while part := os.read(process.stdout.fileno(), 65536):
                file.write(part)
                file.flush()
                _show(last_lines(part.decode(errors="replace"), 1))
            status = process.wait()
        except BaseException:
            _end(process)
            raise
        finally:
            process.stdout.close()
            _show([])
    output = log.read_bytes().decode(errors="replace")
    if status:
        lines = "\n".join(f"  {line}" for line in last_lines(output, TAIL))
        raise FormworkError(
            f"`{' '.join(command[2:])}` failed. Its last lines:\n{lines}\nAll of it: `less -R {log}`"  # python -m
        )
    return output


def last_lines(output: str, count: int) -> list[str]:
    """As a terminal shows them, of a line that was written over the last version, without those that are empty."""
    lines = (ESCAPES.sub("", line).rstrip().rsplit("\r", 1)[-1] for line in output.split("\n"))
    return [line for line in lines if line.strip()][-count:]


def _show(lines: Sequence[str]) -> None:
    """Show one line in the place of the one before; none takes it away."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 1
        text = lines[0].strip()[:width] if lines else ""
        print(f"\r\x1b[K{text}", end="", flush=True)


def _end(process: subprocess.Popen) -> None:
    """End a process and its group: first as Ctrl-C does, so that it can clean up."""
    for kind, seconds in ((signal.SIGINT, PATIENCE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, kind)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: at once
            process.wait(seconds)
