"""The virtual environment of a checkout: where it is, what it was set up for, and whether we may touch it."""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from formwork.errors import FormworkError
from formwork.files import try_lock, write_text
from formwork.tools.setup.processes import run, say

STAMP = "setup.json"  # in the environment, written last: what it was set up for
LOCK = "setup.lock"  # in the environment, written first: it is ours, and a set-up is at work while this is locked
PARTS = ("bin", "etc", "include", "lib", "lib64", "share", "pyvenv.cfg", ".lock")  # what venv and packages make
PYPI = "pypi"  # where torch comes from, unless FORMWORK_TORCH says otherwise


def find_environment(root: Path) -> Path:
    """FORMWORK_VENV, or .venv of the checkout `root`; where that is a link, what it points to."""
    chosen = os.environ.get("FORMWORK_VENV")
    if chosen and not os.path.isabs(chosen):
        raise FormworkError(f"FORMWORK_VENV must be an absolute path, and is {chosen!r}.")
    return Path(chosen or root / ".venv").resolve()


def stamp_of(root: Path, environment: Path) -> dict[str, str]:
    """The stamp of an environment that is up to date, but for `ffcv`, see .ffcv_build."""
    torch = os.environ.get("FORMWORK_TORCH") or read_stamp(environment).get("torch", PYPI)
    if torch not in ("cpu", PYPI) and "://" not in torch:
        raise FormworkError(f"FORMWORK_TORCH must be cpu, {PYPI} or a URL, and is {torch!r}.")
    return {
        "venv": str(environment),  # its scripts have absolute paths
        "python": f"{sys.implementation.cache_tag} {platform.machine()}",
        "torch": torch,
        "requirements": hashlib.sha256((root / "requirements.txt").read_bytes()).hexdigest(),
    }


def read_stamp(environment: Path) -> dict[str, str]:
    """What an environment is completely set up for; for one that is unfinished, or whose Python is gone, at most which
    torch was chosen."""
    try:
        stamp = json.loads((environment / STAMP).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    if not (environment / "bin" / "python").exists():
        return {key: value for key, value in stamp.items() if key == "torch"}
    return stamp


def write_stamp(environment: Path, stamp: Mapping[str, str]) -> None:
    write_text(environment / STAMP, json.dumps(stamp))


@contextlib.contextmanager
def claimed(environment: Path) -> Iterator[None]:
    """Hold the lock of the environment, in a folder that is made where there is none; wait for whoever holds it.

    Raises:
        FormworkError: the folder holds something that no set-up has made.
    """
    environment.mkdir(parents=True, exist_ok=True)
    names = os.listdir(environment)
    if names and LOCK not in names and STAMP not in names:
        raise FormworkError(
            f"{environment} has files that `make setup` did not make, {names[0]} for one, so nothing was changed.\n"
            f"Move it away (mv '{environment}' '{environment}.old'), or have the environment elsewhere: link .venv to\n"
            "another folder, or set FORMWORK_VENV=/path/of/another/folder. Then run `make setup` again."
        )
    with (environment / LOCK).open("w") as lock:
        os.set_inheritable(lock.fileno(), True)
        if not try_lock(lock.fileno()):
            say("waiting for another setup of this environment")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_environment(environment: Path) -> None:
    """Make a new environment in a claimed folder, whatever an earlier set-up has left there. Other files stay."""
    for path in map(environment.joinpath, PARTS):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    base_python = sys._base_executable  # type: ignore[attr-defined]  # behind an active one, which may be this
    run("Making the environment", base_python, "-m", "venv", "--without-pip", "--prompt", "formwork", environment)
