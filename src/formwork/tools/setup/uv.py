"""uv, which installs the packages: the version that requirements.txt pins, kept for all checkouts of this user."""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from formwork.errors import FormworkError
from formwork.tools.setup.pip_settings import connection_options, connection_variables, index_options, pip_settings
from formwork.tools.setup.processes import run, say
from formwork.tools.setup.requirements import version_of
from formwork.tools.setup.system_packages import PYTHON, Need, commands_to_run, install_unmet


def has_ensurepip() -> bool:
    return Path(sysconfig.get_path("stdlib"), "ensurepip", "__init__.py").exists()


PIP = Need(has_ensurepip, f"{PYTHON}-venv", "python3", "python", "python")


def find_uv(requirements: Path) -> Path:
    """The executable. It is downloaded by Python's own pip; where that is missing, the uv on PATH will do.

    Raises:
        FormworkError: there is neither.
    """
    version = version_of("uv", requirements)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "formwork")
    kept = cache / f"uv-{version}-{sysconfig.get_platform()}"
    if kept.exists():
        return kept
    if not PIP.is_met() and (found := shutil.which("uv")):
        return Path(found)
    if install_unmet([PIP]):
        raise FormworkError(
            f"Python's module ensurepip is missing, in {PIP.apt}, as Debian names it: {commands_to_run([PIP])}\n"
            "Or, without root, install uv (https://docs.astral.sh/uv): with it on PATH, ensurepip is not needed."
        )
    say(f"getting uv {version}, which installs the packages")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        base_python = sys._base_executable  # type: ignore[attr-defined]  # behind an active environment
        run("Making an environment for uv", base_python, "-m", "venv", folder)
        pip = (Path(folder, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run("Getting uv", *pip, "--no-user", "--no-deps", f"uv=={version}")
        Path(folder, "bin", "uv").replace(kept)
    return kept


class Uv:
    """Commands of uv for an environment.

    Args:
        requirements: file that pins a version of all that may be installed.
    """

    def __init__(self, environment: Path, requirements: Path):
        self._python = environment / "bin" / "python"
        self._requirements = requirements
        self._uv = find_uv(requirements)
        self._settings = pip_settings()
        self.variables = connection_variables(self._settings)

    def install(self, *packages: str | Path, index: str | None = None) -> list[str | Path]:
        """Args:
        packages: names with versions, or options.
        index: URL of the place to look for them first; None: where pip would.
        """
        where = ["--default-index", index] if index else index_options(self._settings)
        command: list[str | Path] = [self._uv, "pip", "install", "--python", self._python]
        command += [*where, *connection_options(self._settings)]
        if not sys.stderr.isatty():
            command += ["--quiet"]  # a list of 170 packages; errors are shown all the same
        # No dependencies: requirements.txt is complete, and leaves opencv-python out on purpose.
        return [*command, "--no-deps", "--build-constraints", self._requirements, *packages]

    def forget_build(self, package: str) -> list[str | Path]:
        """Have a package built anew that was built before, for this environment or another."""
        return [self._uv, "cache", "clean", "--quiet", package]
