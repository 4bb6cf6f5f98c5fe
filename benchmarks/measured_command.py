"""Time and peak memory of a command, with all processes that it starts."""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from formwork.errors import FormworkError
from formwork.system import PeakMemory

POLL_SECONDS = 0.2


def run_measured(command: Sequence[object], folder: Path) -> tuple[float, int]:
    """Run a command in a folder: seconds, and the peak of PeakMemory in bytes.

    Raises:
        FormworkError: it failed; with what it printed.
    """
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen([*map(str, command)], cwd=folder, stdout=output, stderr=output)
        with PeakMemory(process.pid, POLL_SECONDS) as memory:
            status = process.wait()
        seconds = time.perf_counter() - start
        if status:
            output.seek(0)
            raise FormworkError(f"{command[1]} exited with {status}:\n{output.read()}")
    return seconds, memory.peak
