"""A folder of a tool's own in which it may clone the workspace and run DVC."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from formwork.errors import FormworkError
from formwork.files import try_lock
from formwork.git import GitError, git
from formwork.processes import run_logged

PLACES = Path(".dvc/tmp")  # git ignores it, and DVC's cache can have links into it: it is on one disk with it
CLONE = "workspace"  # in the place of a tool, beside the logs
PATIENCE_SECONDS = 60


@contextmanager
def own_place(root: Path, tool: str) -> Iterator[tuple[Path, int]]:
    """An empty folder, and the descriptor of a lock that the commands which run in it hold, for as long as the block
    lasts. Then it is gone, but for the logs where the block fails.

    Args:
        tool: whose it is; each has a place of its own, .dvc/tmp/<tool>, and there can be one of it at a time.

    Raises:
        FormworkError: the same tool is running.
    """
    place = root / PLACES / tool
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as own, place.with_suffix(".commands.lock").open("w") as lock:
        if not try_lock(own.fileno()):
            raise FormworkError(f"Another `make {tool}` is running in this workspace. Wait for it, or stop it.")
        _wait_for_commands(lock.fileno(), tool)
        shutil.rmtree(place, ignore_errors=True)  # of one that was killed, or the logs of one that failed
        place.mkdir()
        left = place
        try:
            yield place, lock.fileno()
        except FormworkError:
            left = place / CLONE  # the logs are for the user to read
            raise
        finally:
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C leaves no half copy
            shutil.rmtree(left, ignore_errors=True)
            signal.signal(signal.SIGINT, before)


def _wait_for_commands(lock: int, tool: str) -> None:
    """Until what a killed tool had started has written its checkpoint and ended; it holds this lock.

    Raises:
        FormworkError: it does not end.
    """
    start = time.monotonic()
    while not try_lock(lock):
        if time.monotonic() - start > PATIENCE_SECONDS:
            raise FormworkError(
                f"What a killed `make {tool}` had started is still running, in {PLACES / tool}. Wait for it, or end it."
            )
        time.sleep(0.1)


def clone(root: Path, folder: Path, head: str) -> None:
    """A clone of a repository, at a commit, whose commits are by the same user."""
    git(root, "clone", "--quiet", "--shared", "--no-checkout", root, folder)
    git(folder, "checkout", "--quiet", "--detach", head)
    for key in ("user.name", "user.email"):  # an experiment is a commit, too
        with suppress(GitError):  # not set there
            git(folder, "config", key, git(root, "config", "--get", key).decode().strip())


def set_up_dvc(root: Path, folder: Path, cache: Path) -> None:
    """Give a clone DVC's settings: those of the user alone in `root`, and a cache."""
    from dvc.config import Config

    own = root / ".dvc/config.local"
    if own.exists():
        shutil.copy2(own, folder / ".dvc/config.local")
    with edited_config(folder) as config:
        config.setdefault("cache", {})["dir"] = str(cache)
        # It goes away with the clone, of which it has the name: in the common one it would stay.
        config.setdefault("core", {})["site_cache_dir"] = str(folder / ".dvc/tmp/site")
        for name, remote in Config(str(root / ".dvc")).get("remote", {}).items():  # relative to root, some of them
            config.setdefault("remote", {}).setdefault(name, {})["url"] = remote["url"]


@contextmanager
def edited_config(folder: Path) -> Iterator[dict[str, Any]]:
    """The settings of DVC that belong to a clone alone, to be changed."""
    from dvc.config import Config

    with Config(str(folder / ".dvc")).edit("local") as config:
        yield config


def run_dvc(folder: Path, log: Path, lock: int, *arguments: str, meanwhile: Callable[[], None] | None = None) -> str:
    """Run a DVC command in a clone; gives what it printed. See run_logged."""
    # `python` in a stage's command is the one that runs this.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    command = [sys.executable, "-m", "dvc", *arguments]
    return run_logged(command, folder, os.environ | {"PATH": path}, log, lock, meanwhile)
