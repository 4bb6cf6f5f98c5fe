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
    for thread in _entries(Path(f"/proc/{process}/task")):
        for child in _text(thread / "children").split():
            yield from _tree(int(child))


# A process, or one of its threads, may end while it is looked at.


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _proportional_set_size(process: int, kinds: tuple[str, ...]) -> int:
    lines = _text(Path(f"/proc/{process}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(kinds))
