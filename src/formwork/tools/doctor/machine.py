"""What this process may use of the machine: memory, cores, disks, and the page cache."""

import ctypes
import mmap
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from formwork.tools.doctor.verdict import NotChecked

CGROUP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
CHUNK = 1 << 30  # bytes of a file that are asked about at once


def memory() -> tuple[int, int]:
    """(total, available) in bytes: of the machine, or of the control group that this process is limited to.

    Available is what could be had without swapping, and holds the page cache.

    Raises:
        NotChecked: this system does not say.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError as error:
        raise NotChecked("only Linux says how much memory is available") from error
    found = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)}
    limit = min((int(v) for v in _limits("memory", "memory.max", "memory.limit_in_bytes") if v.isdigit()), default=None)
    total, available = found["MemTotal"], found["MemAvailable"]
    return (total, available) if limit is None else (min(total, limit), min(available, limit))


def cores() -> int:
    """Cores that this process may run on, and has the time of."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for value in _limits("cpu", "cpu.max"):
        quota, period = value.split()
        if quota.isdigit():
            allowed = min(allowed, max(int(quota) // int(period), 1))
    return allowed


def _limits(controller: str, name: str, name_1: str | None = None) -> Iterator[str]:
    """What the file of this name says for the control group of this process, and for those that it is in; name_1: of
    the file in version 1 of control groups."""
    try:
        lines = CGROUP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, place = line.split(":", 2)
        if number == "0":
            base, file = CGROUPS, name
        elif name_1 and controller in controllers.split(","):
            base, file = CGROUPS / controller, name_1
        else:
            continue
        path = PurePosixPath(place)
        for folder in (path, *path.parents):
            try:
                yield (base / folder.relative_to("/") / file).read_text().strip()
            except OSError:  # the root has none; of a container, those outside are not to be seen
                continue


def nearest(path: Path) -> Path:
    """The folder itself, or the one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def cached_bytes(path: Path) -> int:
    """How many bytes of a file are in the page cache.

    Raises:
        NotChecked: the system does not say that to this user.
        OSError: the file cannot be read.
    """
    import numpy as np

    if sys.platform != "linux":
        raise NotChecked("only Linux says what is in the page cache")
    if os.stat(path).st_uid != os.geteuid() and not os.access(path, os.W_OK):
        raise NotChecked(f"Linux says what of {path} is in memory to nobody but its owner")  # to others: all of it
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
    resident = 0
    with path.open("rb") as file:
        length = os.fstat(file.fileno()).st_size
        for start in range(0, length, CHUNK):
            part = min(CHUNK, length - start)
            # Copy on write, though nothing is written: ctypes takes addresses of no other maps.
            with mmap.mmap(file.fileno(), part, access=mmap.ACCESS_COPY, offset=start) as mapped:
                first = ctypes.c_char.from_buffer(mapped)
                pages = ctypes.create_string_buffer(-(-part // mmap.PAGESIZE))
                failed = libc.mincore(ctypes.addressof(first), part, pages)
                del first  # or the map could not be closed
            if failed:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))
            resident += int((np.frombuffer(pages, np.uint8) & 1).sum()) * mmap.PAGESIZE
    return min(resident, length)
