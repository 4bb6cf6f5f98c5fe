"""The machine as this process sees it: CPU cores, memory, page cache, names of CPU and GPU; memory of processes."""

import ctypes
import hashlib
import hmac
import mmap
import os
import platform
import secrets
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath

GPU_DEVICES = ("nvidia[0-9]*", "kfd", "dxg")  # in /dev: those of NVIDIA, of AMD, and of Windows' Linux
CGROUP, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
MACHINE_IDS = Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
IN_CONTAINER = Path("/.dockerenv"), Path("/run/.containerenv")
PACKAGES = ("torch", "torchvision", "timm", "pytorch-lightning", "numpy", "numba", "pillow", "ffcv", "dvc")
CHUNK = 1 << 30  # bytes of a file whose place in the page cache is asked for at once
_OF_PROCESS = secrets.token_bytes(16)


# --- What there is ------------------------------------------------------------------------------


def machine() -> str:
    """CPU, number of cores available to this process, and the first GPU that torch would use."""
    return ", ".join([cpu(), f"cores {cores()}", *_gpu()])


def machine_id() -> str:
    """Eight hexadecimal digits that stand for this machine, as this user sees it: figures of the same id are of the
    same machine. They tell nothing of it, and may be published.

    What they are made from is hashed with a secret of this user, made when it is first needed. So copies of a virtual
    machine, containers of one image and nodes that share an image or a home folder all have ids of their own; a
    container has a new one whenever it is made anew, or whenever its host restarts.
    """
    parts = [_read(path).strip() for path in MACHINE_IDS]
    if any(path.exists() for path in IN_CONTAINER) or "KUBERNETES_SERVICE_HOST" in os.environ:
        parts.append(_read(BOOT_ID).strip())  # its image may have brought the other ids
    if not any(parts):
        parts.append(str(uuid.getnode()))  # other systems than Linux
    return hmac.new(_secret(), "\n".join([*parts, platform.node()]).encode(), hashlib.sha256).hexdigest()[:8]


def _secret() -> bytes:
    """Random bytes of this user; of this process alone, where they can be kept nowhere."""
    state = os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()
    path = Path(state) / "formwork/machine"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f"machine.{os.getpid()}")
            temporary.write_bytes(_OF_PROCESS)
            temporary.replace(path)
        return path.read_bytes()
    except OSError:
        return _OF_PROCESS


@cache
def software() -> tuple[str, ...]:
    """System, Python, and the packages that what is trained may depend on, each with its version."""
    from importlib.metadata import PackageNotFoundError, version  # it takes 20 ms

    found = [platform.platform(), f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # not installed
            found.append(f"{package} {version(package)}")
    return tuple(found)


def cpu() -> str:
    """CPU model name."""
    names = [
        line.split(":", 1)[1].strip()
        for line in _read(Path("/proc/cpuinfo")).splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()


def _gpu() -> list[str]:
    if not any(path for name in GPU_DEVICES for path in Path("/dev").glob(name)):
        return []
    import torch  # takes seconds: not where there is no GPU

    return [torch.cuda.get_device_name(0)] if torch.cuda.is_available() else []


def cores() -> int:
    """Number of CPU cores available to this process: by its affinity, and by the CPU time of its control group."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for value in _limits("cpu", "cpu.max"):
        quota, period = value.split()
        if quota.isdigit():
            available = min(available, max(int(quota) // int(period), 1))
    return available


def memory() -> tuple[int, int]:
    """(total, available) bytes: of the machine, or of the control group that this process is limited to.

    Available is what can be had without swapping; the page cache is part of it.
    """
    import psutil  # here: the doctor asks for cores where no package is installed

    found = psutil.virtual_memory()
    limits = [int(value) for value in _limits("memory", "memory.max", "memory.limit_in_bytes") if value.isdigit()]
    return min([found.total, *limits]), min([found.available, *limits])


def _limits(controller: str, name: str, name_1: str | None = None) -> Iterator[str]:
    """Contents of a file of the control group of this process, and of those around it.

    Args:
        name: of the file. name_1: of the file in version 1 of control groups.
    """
    for line in _read(CGROUP).splitlines():
        number, controllers, place = line.split(":", 2)
        if number == "0":
            base, file = CGROUPS, name
        elif name_1 and controller in controllers.split(","):
            base, file = CGROUPS / controller, name_1
        else:
            continue
        path = PurePosixPath(place)
        for folder in (path, *path.parents):
            # The root has none; in a container, those outside are not to be seen.
            if found := _read(base / folder.relative_to("/") / file).strip():
                yield found


def cached_bytes(path: Path) -> int | None:
    """Number of bytes of a file that are in the page cache; None where the system does not tell this user.

    Raises:
        OSError: the file cannot be read.
    """
    if sys.platform != "linux":
        return None
    if os.stat(path).st_uid != os.geteuid() and not os.access(path, os.W_OK):
        return None  # Linux then says that all of it is
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
            resident += pages.raw.count(1) * mmap.PAGESIZE
    return min(resident, length)


# --- Peak memory --------------------------------------------------------------------------------


class PeakMemory:
    """Peak memory of a process together with all its descendants: the largest sum seen by polling.

    The memory of a process is its proportional set size (PSS): a page that n processes share counts as 1/n for each.
    Where /proc does not tell it, on other systems than Linux, the peak is 0.

    Args:
        every: seconds between two polls.
        files: count what is mapped from files, too, such as libraries: memory that the processes share with whatever
            else runs on the machine, so that it is less in a busy hour.
        share: of the time that may be spent polling, 20 ms for 2 GB: polls that take longer become fewer.

    Attributes:
        peak: in bytes.
    """

    def __init__(self, process: int, every: float, files: bool = True, share: float = 1.0):
        self.peak = 0
        self._kinds = ("Pss:",) if files else ("Pss_Anon:", "Pss_Shmem:")
        self._process = process
        self._every = every
        self._share = share
        self._polling = threading.Lock()
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
        with self._polling:
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
    """A process and its descendants; psutil would read /proc/*/stat of all processes for that."""
    yield process
    for thread in _entries(Path(f"/proc/{process}/task")):
        for child in _read(thread / "children").split():
            yield from _tree(int(child))


def _proportional_set_size(process: int, kinds: tuple[str, ...]) -> int:
    lines = _read(Path(f"/proc/{process}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(kinds))


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []  # the process has ended


def _read(file: Path) -> str:
    """Text of a file of /proc or /sys; "" where there is none, or its process has ended."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
