"""System packages: which are missing, and the commands that install them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from formwork.tools.setup.processes import say

PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"  # Debian has packages for each version

INSTALL_COMMANDS = {
    "apt": "sudo apt-get install",
    "dnf": "sudo dnf install",
    "brew": "brew install",
    "conda": "conda install -c conda-forge",
}


class Need(NamedTuple):
    """Something that must be there, and the packages that bring it."""

    is_met: Callable[[], bool]
    apt: str
    dnf: str
    brew: str
    conda: str


def package_names(needs: Iterable[Need], manager: str = "apt") -> str:
    return " ".join(getattr(need, manager) for need in needs)


def install_commands(needs: Sequence[Need]) -> list[str]:
    """A command for each package manager."""
    return [f"{command} {package_names(needs, manager)}" for manager, command in INSTALL_COMMANDS.items()]


def commands_to_run(needs: Sequence[Need]) -> str:
    """The end of a message that has named what is missing."""
    lines = "".join(f"\n  {command}" for command in install_commands(needs))
    return f"install them with the line for your system, then run `make setup` again:{lines}"


def unmet(needs: Iterable[Need]) -> list[Need]:
    return [need for need in needs if not need.is_met()]


def install_unmet(needs: Iterable[Need]) -> list[Need]:
    """Install what is missing, if this is root with apt-get; returns what is missing then."""
    missing = unmet(needs)
    if not missing or os.geteuid() != 0 or not shutil.which("apt-get"):
        return missing
    names = package_names(missing)
    say(f"installing system packages: {names}")
    _apt_get("update")  # may fail for a repository that has nothing to do with us: the install decides
    _apt_get("install", "--yes", "--no-install-recommends", *names.split())
    return unmet(missing)


def _apt_get(*arguments: str) -> None:
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments]
    subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=False)
