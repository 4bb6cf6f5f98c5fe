"""What a command costs, with all processes that it starts: time, CPU time, memory, and disk."""

import ctypes
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from formwork.errors import FormworkError
from formwork.processes import end_group
from formwork.system import PeakMemory

POLL_SECONDS = 0.2
POLL_SHARE = 0.05  # of the time: the memory of a process with gigabytes takes long to add up
BLOCK = 512  # bytes, in which the kernel counts
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Spent:
    """Attributes:
    seconds: from start to end.
    cpu_seconds: of all processes.
    peak_bytes: of their memory together; see PeakMemory.
    read_bytes: from the disk, which is not what was in the page cache.
    written_bytes: that are to go to the disk, whether they are there yet or not.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    read_bytes: int
    written_bytes: int


def run_measured(
    command: Sequence[object], folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[Spent, str]:
    """Run a command in a folder; gives what it cost, and what it wrote to stdout.

    Raises:
        FormworkError: it failed; with what it printed.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        with _adopting_orphans():
            process = subprocess.Popen(
                [*map(str, command)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
            try:
                with PeakMemory(process.pid, POLL_SECONDS, share=POLL_SHARE) as memory:
                    _, status, used = os.wait4(process.pid, 0)
            except BaseException:  # Ctrl-C, which the command in its session does not hear
                end_group(process)
                raise
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            usages = [used, *_of_orphans(process.pid)]
        output.seek(0)
        said = output.read()
        if process.returncode:
            errors.seek(0)
            raise FormworkError(f"{command[1]} exited with {process.returncode}:\n{said}{errors.read()}")
    cpu = sum(used.ru_utime + used.ru_stime for used in usages)
    read, written = (BLOCK * sum(getattr(used, name) for used in usages) for name in ("ru_inblock", "ru_oublock"))
    return Spent(seconds, cpu, memory.peak, read, written), said


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """What commands leave behind becomes a child of this process: servers that start their workers, and end after them,
    which they do not wait for. (Linux; on other systems these are not counted.)"""
    prctl = getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)
    prctl(SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(SUBREAPER, 0)


def _of_orphans(group: int) -> Iterator[resource.struct_rusage]:
    """What the processes of a group used, each with all that it waited for, as they end."""
    while True:
        try:
            yield os.wait4(-group, 0)[2]
        except ChildProcessError:  # there is none left
            return
