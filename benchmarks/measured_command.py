"""What a command costs, with all processes that it starts: time, CPU time, memory, and disk."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from formwork.errors import FormworkError
from formwork.system import PeakMemory

POLL_SECONDS = 0.2
POLL_SHARE = 0.05  # of the time: the memory of a process with gigabytes takes long to add up
BLOCK = 512  # bytes, in which the kernel counts


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
        process = subprocess.Popen(
            [*map(str, command)], cwd=folder, env=environment, stdout=output, stderr=errors, stdin=subprocess.DEVNULL
        )
        with PeakMemory(process.pid, POLL_SECONDS, share=POLL_SHARE) as memory:
            _, status, used = os.wait4(process.pid, 0)  # of it and of all that it waited for
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        said = output.read()
        if process.returncode:
            errors.seek(0)
            raise FormworkError(f"{command[1]} exited with {process.returncode}:\n{said}{errors.read()}")
    cpu = used.ru_utime + used.ru_stime
    return Spent(seconds, cpu, memory.peak, used.ru_inblock * BLOCK, used.ru_oublock * BLOCK), said
