"""Peak memory of a process together with all that it starts."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path


class PeakMemory:
    """The largest sum of the memory of a process and all its descendants, seen by looking at it again and again.

    The memory of a process is its proportional set size: of pages that several processes share, each counts its part.
    Where /proc does not tell it, on other systems than Linux, the peak is 0.

    Args:
        every: seconds between two looks.
        files: count what is mapped from files, too, such as libraries: memory that the processes share with whatever
            else runs on the machine, so that it is less in a busy hour.
        share: of the time that may be spent looking, 20 ms for 2 GB: looks that take longer become fewer.

    Attributes:
        peak: in bytes.
    """

    def __init__(self, process: int, every: float, files: bool = True, share: float = 1.0):
        self.peak = 0
        self._kinds = ("Pss:",) if files else ("Pss_Anon:", "Pss_Shmem:")
        self._process = process
        self._every = every
        self._share = share
        self._looking = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="PeakMemory", daemon=True)

    def __enter__(self) -> "PeakMemory":
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def look(self) -> int:
        """The peak, this moment included."""
        with self._looking:
            now = sum(_proportional_set_size(process, self._kinds) for process in _tree(self._process))
            self.peak = max(self.peak, now)
            return self.peak

    def _watch(self) -> None:
        pause = self._every
        while not self._ended.wait(pause):
            start = time.perf_counter()
            self.look()
            pause = max(self._every, (time.perf_counter() - start) / self._share)


def _tree(process: int) -> Iterator[int]:
    yield process
    try:
        tasks = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it ended meanwhile
        return
    for child in children:
        yield from _tree(child)


def _proportional_set_size(process: int, kinds: tuple[str, ...]) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(kinds))
