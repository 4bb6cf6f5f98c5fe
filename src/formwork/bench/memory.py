"""Time and peak memory of a command, with all processes that it starts."""

import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from formwork.errors import FormworkError

POLL_SECONDS = 0.2


def run_measured(command: Sequence[str | Path], folder: Path) -> tuple[float, int]:
    """Run a command in a folder: seconds, and the peak of PeakMemory in bytes.

    Raises:
        FormworkError: it failed; with what it printed.
    """
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        with PeakMemory(process.pid) as memory:
            status = process.wait()
        seconds = time.perf_counter() - start
        if status:
            output.seek(0)
            raise FormworkError(f"{command[1]} exited with {status}:\n{output.read()}")
    return seconds, memory.peak


class PeakMemory:
    """The largest sum of the memory of a process and all its descendants, seen by looking every POLL_SECONDS.

    The memory of a process is its proportional set size: of pages that several processes share, each counts its part.
    """

    def __init__(self, process: int):
        self.peak = 0
        self._process = process
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "PeakMemory":
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, sum(map(_proportional_set_size, _tree(self._process))))


def _tree(process: int) -> Iterator[int]:
    yield process
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended meanwhile
        return
    for child in children:
        yield from _tree(child)


def _proportional_set_size(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
