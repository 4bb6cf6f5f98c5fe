"""What the system refuses a process: room, memory, files, processes, permissions. In words, with what to do then."""

import errno
import os
import re
import resource
import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

MEMORY = "Give the process more memory, or lower data.num_workers and data.batch_size in params.yaml."
PERMISSIONS = "Check the permissions of its folder."
IN_THE_WAY = "A file stands where a folder is needed: move it away."
ADVICE = {
    errno.ENOSPC: "Make room there, then try again.",
    errno.EDQUOT: "Make room within your quota, then try again.",
    errno.EFBIG: "Raise the limit of file sizes (`ulimit -f unlimited`), or that of the file system.",
    errno.EROFS: "Its file system is mounted for reading only: mount it for writing.",
    errno.EACCES: PERMISSIONS,
    errno.EPERM: PERMISSIONS,
    errno.EIO: "The disk, or the way to it, has failed: `dmesg` may say more.",
    errno.ENOTDIR: IN_THE_WAY,
    errno.EEXIST: IN_THE_WAY,
    errno.EISDIR: "A folder stands where a file is needed: move it away.",
    errno.EMFILE: "Raise the limit of open files (`ulimit -n 4096`), or lower data.num_workers in params.yaml.",
    errno.ENFILE: "All processes of this machine together have too many files open: end some.",
    errno.EAGAIN: "Raise the limit of processes (`ulimit -u`), or lower data.num_workers in params.yaml.",
    errno.ENOMEM: MEMORY,
    **dict.fromkeys(
        (errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ECONNRESET),
        "The server of its file system does not answer: try again when it does.",
    ),
}
OF_A_FILE = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENXIO),
}
"""Errors of reading that say something of the file. All others say something of this process, machine or moment."""
NO_SHARED_MEMORY = (
    "/dev/shm has no room for a batch. Enlarge it (`mount -o remount,size=8g /dev/shm`; a container: `--shm-size=8g`), "
    "or lower data.num_workers and data.batch_size."
)
DATABASES = (
    "Make room where .dvc and DVC's own files are, by default in /var/tmp/dvc (`dvc config core.site_cache_dir`), or "
    "check their permissions."
)
FULL = 1 << 16  # bytes: a file system with less room counts as full
SHARED_MEMORY = Path("/dev/shm")  # of worker processes


def advice(error: OSError) -> str:
    """What to do about it, a sentence; "" where nobody knows."""
    return ADVICE.get(error.errno or 0, "")


def explain(error: BaseException) -> str | None:
    """One line on an error that is the system's and not the program's; None for any other."""
    if isinstance(error, OSError) and error.errno:
        return _explain_refusal(error)
    text = " ".join(str(error).split())
    if isinstance(error, sqlite3.OperationalError):
        return f"A database of DVC cannot be used: {text}. {DATABASES}"
    if isinstance(error, MemoryError):
        return f"Not enough memory{f': {text}' if text else ''}. {MEMORY}"
    if isinstance(error, ImportError) and ("failed to map segment" in text or "Cannot allocate memory" in text):
        first = error
        while isinstance(first.__cause__, ImportError):  # NumPy's has a page of advice around it
            first = first.__cause__
        return f"Not enough memory to load a library: {first}. {MEMORY}"
    if isinstance(error, RuntimeError):
        if "shared memory(shm)" in text:  # torch's, as the next ones
            return NO_SHARED_MEMORY
        if killed := re.match(r"DataLoader worker \(pid.* killed by signal: (?P<signal>[\w ]+)", text):
            return f"A worker process of the PyTorch DataLoader {worker_killed(killed['signal'])}"
        if "can't start new thread" in text:
            return f"The system starts no more threads. {ADVICE[errno.EAGAIN]}"
        if "out of memory" in text or "can't allocate memory" in text:  # torch's, on a GPU and on the CPU
            return f"Not enough memory: {text} {MEMORY}"
        if refusal := behind(error):
            return _explain_refusal(refusal)
    return None


def unreadable(name: object, error: BaseException, advice_on_file: str) -> str:
    """One line on a file that cannot be read.

    Args:
        name: what it is called, for people.
        error: MemoryError, whose message may say what the memory is for ("to ..."), or OSError.
        advice_on_file: what to do where the reason lies in the file.
    """
    return of_the_run(name, error) or f"{name}: {getattr(error, 'strerror', None) or error}. {advice_on_file}"


def of_the_run(name: object, error: BaseException) -> str | None:
    """One line on an error of reading a file that says nothing of the file; None where it does."""
    if isinstance(error, MemoryError):
        return no_memory(name, str(error) if str(error).startswith("to ") else "to read it")
    if isinstance(error, OSError) and error.errno and error.errno not in OF_A_FILE:
        return f"{name}: {error.strerror}. {advice(error)}".rstrip()
    return None


def no_memory(name: object, purpose: str) -> str:
    """One line on a file that there is not enough memory for, with the purpose, as in "to read it"."""
    return (
        f"{name}: not enough memory {purpose}. Lower data.num_workers in params.yaml, or give the process more memory."
    )


def worker_killed(by: str) -> str:
    """How a worker process of a DataLoader ended, and what to do."""
    if by == "Bus error":
        return f"was killed: {NO_SHARED_MEMORY}"
    return f"was killed ({by}), often for lack of memory. Lower data.num_workers or data.batch_size."


def behind(error: BaseException) -> OSError | None:
    """The refusal that led to an error: torch, for one, turns it into a RuntimeError of other words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _explain_refusal(error: OSError) -> str:
    parts = [str(name) for name in (error.filename, error.filename2) if name is not None]
    if error.errno in (errno.EMFILE, errno.ENFILE):  # the file that is one too many is not to blame
        parts = []
    what = f"{' to '.join(parts)}: {error.strerror}" if parts else f"{error.strerror}"
    if error.errno == errno.ENOSPC and not parts and (full := _full_places()):
        what += f" in {' and '.join(full)}"
    return f"{what}. {advice(error)}".rstrip()


def _full_places() -> list[str]:
    """Folders that processes write to and whose file system is full, one for each file system."""
    places = [*map(Path.absolute, map(Path, (".", "data", "models", "results", ".dvc/cache"))), SHARED_MEMORY]
    with suppress(OSError):  # no folder for temporary files is usable
        places.append(Path(tempfile.gettempdir()))
    found: dict[int, str] = {}
    for place in places:
        with suppress(OSError):  # there is none
            if shutil.disk_usage(place).free < FULL:
                found.setdefault(os.stat(place).st_dev, str(place))
    return list(found.values())


def open_more_files() -> None:
    """Raise the number of files that this process may have open as far as the system lets it: worker processes take
    several each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # macOS has a limit below the one that it tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
