"""A disk that reads no faster than it is told to, for some processes; where the system lets this user do that."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
NAME = f"formwork-benchmark-{os.getpid()}"


@contextmanager
def slowed(path: Path, rate: int) -> Iterator[Callable[[int], None] | None]:
    """A function that slows down a process: from the disk that `path` is on, all such processes read `rate` bytes a
    second together. They must have ended when the context does. None where control groups may not be made."""
    device = _device(path)
    for base, file, text in (
        (CGROUPS, "io.max", f"{device} rbps={rate}"),  # version 2
        (CGROUPS / "blkio", "blkio.throttle.read_bps_device", f"{device} {rate}"),  # version 1
    ):
        group = base / NAME
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            try:
                _write(group / file, text)
            except OSError:  # no such file, or no disk that can be slowed down
                continue
            yield partial(_enter, group)
            return
        finally:
            group.rmdir()
    yield None


def _enter(group: Path, process: int) -> None:
    _write(group / "cgroup.procs", str(process))


def _write(file: Path, text: str) -> None:
    """Raises OSError: it does not exist, as where CGROUPS is an ordinary folder with those of version 1 in it."""
    with file.open("r+") as opened:
        opened.write(text)


def _device(path: Path) -> str:
    """Its numbers, major:minor; those of the whole disk, not of a partition."""
    number = os.stat(path).st_dev
    name = f"{os.major(number)}:{os.minor(number)}"
    found = Path("/sys/dev/block", name)
    if (found / "partition").exists():
        name = (found.resolve().parent / "dev").read_text().strip()
    return name
