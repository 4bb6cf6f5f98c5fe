"""Make this checkout ready: system libraries, then .venv with the packages of requirements.txt.

Needs Python >= 3.10, no other package. May be called at any time and by several processes at once:
with nothing to do it starts no process; what was interrupted, or moved to another path, is made anew.
Exit status 0 means ready. Otherwise the last lines say what went wrong and what to do.
"""

from __future__ import annotations  # an older Python must get as far as the message that says so

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

ROOT = Path(__file__).resolve().parent.parent
PROMPT = "formwork"  # in pyvenv.cfg, it also tells our .venv from one that somebody else made
STAMP = "setup.json"  # in .venv, written last: what .venv was set up for
OPENCV_HEADERS = Path("/usr/include/opencv4")  # where Debian and Ubuntu put them, on any architecture


class SetupError(Exception):
    """A whole message for the user: what is wrong and what to do."""


def say(text: str) -> None:
    print(f"setup: {text}", flush=True)  # flushed, to stay in order with what pip and apt-get print


# --- System packages: what the ffcv build needs -------------------------------------------------


class Need(NamedTuple):
    """Something that must be there, and the packages that bring it."""

    is_met: Callable[[], bool]
    apt: str
    dnf: str
    brew: str
    conda: str


MANAGERS = {
    "apt": "sudo apt-get install",
    "dnf": "sudo dnf install",
    "brew": "brew install",
    "conda": "conda install -c conda-forge",
}


def has_compiler() -> bool:
    return shutil.which(build_environment()["CXX"].split()[0]) is not None


def has_python_headers() -> bool:
    return Path(sysconfig.get_path("include"), "Python.h").exists()


def has_ensurepip() -> bool:
    return Path(sysconfig.get_path("stdlib"), "ensurepip", "__init__.py").exists()


def has_pkg_config() -> bool:
    return shutil.which("pkg-config") is not None


def pkg_config_finds(library: str) -> bool:
    if not has_pkg_config():
        return False
    return subprocess.run(["pkg-config", "--exists", library], check=False).returncode == 0


def has_opencv() -> bool:
    modules = (OPENCV_HEADERS / "opencv2" / name for name in ("core.hpp", "imgproc.hpp"))
    return pkg_config_finds("opencv4") or all(module.exists() for module in modules)


def has_turbojpeg() -> bool:
    return pkg_config_finds("libturbojpeg")


PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"  # Debian has packages for each version
NEEDS = (
    Need(has_compiler, "g++", "gcc-c++", "gcc", "cxx-compiler"),
    Need(has_python_headers, f"{PYTHON}-dev", "python3-devel", "python", "python"),
    Need(has_ensurepip, f"{PYTHON}-venv", "python3", "python", "python"),
    Need(has_pkg_config, "pkg-config", "pkgconf-pkg-config", "pkgconf", "pkg-config"),
    # libopencv-dev would be 690 MB, and ffcv uses just these two modules.
    Need(has_opencv, "libopencv-core-dev libopencv-imgproc-dev", "opencv-devel", "opencv", "opencv"),
    Need(has_turbojpeg, "libturbojpeg0-dev", "turbojpeg-devel", "jpeg-turbo", "libjpeg-turbo"),
)


def packages(needs: list[Need], manager: str) -> str:
    return " ".join(getattr(need, manager) for need in needs)


def install_commands(needs: list[Need]) -> list[str]:
    """A command for each package manager."""
    return [f"{command} {packages(needs, manager)}" for manager, command in MANAGERS.items()]


def missing_needs() -> list[Need]:
    return [need for need in NEEDS if not need.is_met()]


def ensure_system_packages() -> None:
    """Install what is missing if we may (root with apt-get), else raise with the commands to do it."""
    missing = missing_needs()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        names = packages(missing, "apt")
        say(f"installing system packages: {names}")
        apt_get("update")  # may fail for a repository that has nothing to do with us: the install decides
        apt_get("install", "--yes", "--no-install-recommends", *names.split())
        missing = [need for need in missing if not need.is_met()]
    if missing:
        raise SetupError(
            f"system packages are missing: {packages(missing, 'apt')}, as Debian names them.\n"
            "Install them with the line for your system, then run `make setup` again:\n"
            + "\n".join(f"  {command}" for command in install_commands(missing))
        )


def apt_get(*arguments: str) -> None:
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments]
    subprocess.run(command, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, check=False)


# --- The build of ffcv --------------------------------------------------------------------------


def build_environment() -> dict[str, str]:
    """The environment, with a compiler: some Pythons ask for the one they were built with elsewhere."""
    return {"CC": "cc", "CXX": "c++"} | os.environ


def write_opencv_shim(folder: Path) -> None:
    """Write the two files of libopencv-dev that ffcv asks for, made of core and imgproc alone.

    ``folder`` must have no space in its path: ffcv's setup.py splits pkg-config's answer at spaces.
    """
    header = folder / "opencv2" / "opencv.hpp"
    header.parent.mkdir()
    header.write_text("#include <opencv2/core.hpp>\n#include <opencv2/imgproc.hpp>\n")
    (folder / "opencv4.pc").write_text(
        "Name: opencv4\n"
        "Description: OpenCV core and imgproc\n"
        "Version: 4\n"
        f"Cflags: -I{folder} -I{OPENCV_HEADERS}\n"
        "Libs: -lopencv_core -lopencv_imgproc\n"
    )


@contextlib.contextmanager
def ffcv_build_environment() -> Iterator[dict[str, str]]:
    """An environment in which pkg-config finds opencv4."""
    environment = build_environment()
    if pkg_config_finds("opencv4"):
        yield environment
        return
    with tempfile.TemporaryDirectory(prefix="opencv-") as folder:
        write_opencv_shim(Path(folder))
        others = environment.get("PKG_CONFIG_PATH")
        yield environment | {"PKG_CONFIG_PATH": f"{folder}:{others}" if others else folder}


# --- .venv --------------------------------------------------------------------------------------


def fingerprint(root: Path) -> dict[str, str]:
    """All that a .venv depends on: the stamp of a .venv that is up to date says just this."""
    return {
        "venv": str(root / ".venv"),  # its scripts have absolute paths
        "python": f"{sys.implementation.cache_tag} {platform.machine()}",
        "requirements": hashlib.sha256((root / "requirements.txt").read_bytes()).hexdigest(),
    }


def read_stamp(venv: Path) -> dict[str, str]:
    """What ``venv`` is completely set up for; {} for one that is unfinished, or whose Python is gone."""
    if not (venv / "bin" / "python").exists():
        return {}
    try:
        return json.loads((venv / STAMP).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def move_aside_if_foreign(venv: Path) -> None:
    """Never delete an environment that we did not make."""
    config = venv / "pyvenv.cfg"
    if config.exists() and f"prompt = {PROMPT!r}" not in config.read_text():
        aside = venv.with_name(f".venv.{time.strftime('%Y%m%d-%H%M%S')}")
        venv.rename(aside)
        say(f"there was a .venv that `make setup` did not make: it is {aside.name} now")


@contextlib.contextmanager
def exclusive_lock(path: Path) -> Iterator[TextIO]:
    """Hold the lock file ``path``; wait for whoever holds it."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another setup of this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def install(root: Path, have: dict[str, str], want: dict[str, str], lock: TextIO) -> None:
    """Bring ``root``/.venv from the stamp ``have`` to the stamp ``want``."""
    venv, requirements = root / ".venv", root / "requirements.txt"
    python = str(venv / "bin" / "python")

    def run(step: str, *command: str, env: dict[str, str] | None = None) -> None:
        # The child inherits the lock: if we are killed, nobody else touches .venv until it is gone too.
        if subprocess.run(command, env=env, pass_fds=[lock.fileno()], check=False).returncode != 0:
            raise SetupError(
                f"{step} failed: the lines above say why. When that is solved (network? disk space?), run\n"
                "`make setup` again. It starts over, with what has been downloaded in pip's cache."
            )

    def pip(step: str, *arguments: str, env: dict[str, str] | None = None) -> None:
        # No dependencies: requirements.txt is complete, and leaves opencv-python out on purpose.
        # No build isolation: it would build with the newest setuptools instead of the pinned one.
        options = ("--disable-pip-version-check", "--no-user", "--no-deps", "--no-build-isolation")
        run(step, python, "-m", "pip", "install", *options, *arguments, env=env)

    if have and {**have, "requirements": ""} == {**want, "requirements": ""}:
        say("requirements.txt has changed: updating .venv")
        (venv / STAMP).unlink()
    else:
        say("making .venv: with PyTorch for CUDA, about 2 GB to download, 6 GB on disk")
        move_aside_if_foreign(venv)
        base_python = sys._base_executable  # the Python behind an active venv, which may be this .venv
        run("Making .venv", base_python, "-m", "venv", "--clear", "--prompt", PROMPT, str(venv))
    pip("Installing pip and setuptools", "--constraint", str(requirements), "pip", "setuptools")
    with ffcv_build_environment() as env:
        # First, because it is what can fail: built here, against this machine's libraries. So not from
        # the cache either, which may hold a build against the libraries of another machine or year.
        pip("Building ffcv", "--no-cache-dir", "--constraint", str(requirements), "ffcv", env=env)
    pip("Installing requirements.txt", "--requirement", str(requirements))
    unfinished = venv / f"{STAMP}.tmp"
    unfinished.write_text(json.dumps(want))
    unfinished.replace(venv / STAMP)


def setup(root: Path) -> None:
    """Make ``root`` ready, or raise SetupError."""
    venv, want = root / ".venv", fingerprint(root)
    if read_stamp(venv) == want:
        say("nothing to do")
        return
    with exclusive_lock(root / ".venv.lock") as lock:
        have = read_stamp(venv)
        if have == want:  # whoever held the lock has done it
            return
        ensure_system_packages()
        install(root, have, want, lock)
    say("done")


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    if sys.version_info < (3, 10):  # noqa: UP036 - it is for whoever has an older one
        print(f"setup: Python 3.10 or newer is needed, this is {platform.python_version()}.", file=sys.stderr)
        return 1
    try:
        setup(ROOT)
    except (SetupError, OSError) as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("setup: interrupted; the next `make setup` starts over.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
