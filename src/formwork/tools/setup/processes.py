"""What a set-up prints and runs."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from formwork.errors import FormworkError


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)  # flushed, to stay in order with what uv and apt-get print


def succeeds(*command: str | Path, env: Mapping[str, str] | None = None) -> bool:
    """Run a command that prints for itself. It inherits the lock of the environment: if the set-up is killed, nobody
    else touches the environment until the command is gone, too."""
    return subprocess.run(command, env=env, close_fds=False, check=False).returncode == 0


def run(step: str, *command: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Raises FormworkError: the command failed."""
    if not succeeds(*command, env=env):
        raise FormworkError(
            f"{step} failed: the lines above say why. When that is solved (network? disk space?), run\n"
            "`make setup` again. It starts over, with what has been downloaded in uv's cache."
        )
