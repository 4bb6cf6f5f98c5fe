"""Make a checkout ready: uv, the environment with the packages of requirements.txt, and ffcv where it can be built."""

import sys
from pathlib import Path

from formwork.tools.setup.environment import (
    PYPI,
    claimed,
    find_environment,
    make_environment,
    read_stamp,
    stamp_of,
    write_stamp,
)
from formwork.tools.setup.ffcv_build import FAILED, INSTALLED, NEEDS, install_ffcv
from formwork.tools.setup.processes import run, say
from formwork.tools.setup.requirements import FOR_CUDA, name_of, pins, version_of
from formwork.tools.setup.system_packages import package_names, unmet
from formwork.tools.setup.uv import Uv

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def setup(root: Path, rebuild_ffcv: bool = False) -> None:
    """Make the checkout `root` ready. With nothing to do it starts no process but pkg-config.

    Args:
        rebuild_ffcv: build ffcv again, even if it is there, or could not be built before.

    Raises:
        FormworkError: with what to do then.
    """
    environment, requirements = find_environment(root), root / "requirements.txt"
    if _is_ready(root, environment) and not rebuild_ffcv:
        say(f"nothing to do{_without_ffcv(read_stamp(environment))}")
        return
    with claimed(environment):
        if _is_ready(root, environment) and not rebuild_ffcv:  # whoever held the lock has done it
            return
        have, want = read_stamp(environment), stamp_of(root, environment)
        uv = Uv(environment, requirements)
        if not want.items() <= have.items():
            write_stamp(environment, {"torch": want["torch"]})  # unfinished, with a choice that outlives interruptions
            _install(environment, have, want, requirements, uv)
        ffcv = install_ffcv(uv, environment, version_of("ffcv", requirements), rebuild_ffcv)
        write_stamp(environment, want | {"ffcv": ffcv})
    say("done")


def _is_ready(root: Path, environment: Path) -> bool:
    """Whether there is nothing to do: if ffcv was left out, for what is missing still."""
    have = read_stamp(environment)
    if not stamp_of(root, environment).items() <= have.items():
        return False
    return have.get("ffcv") in (INSTALLED, FAILED, package_names(unmet(NEEDS)))


def _without_ffcv(stamp: dict[str, str]) -> str:
    """The end of a sentence."""
    if stamp["ffcv"] == INSTALLED:
        return ""
    why = "could not be built" if stamp["ffcv"] == FAILED else f"needs {stamp['ffcv']}"
    return f" (without ffcv, which {why})"


def _install(environment: Path, have: dict[str, str], want: dict[str, str], requirements: Path, uv: Uv) -> None:
    """Bring an environment from the stamp `have` to the stamp `want`, but for ffcv."""
    only_requirements = all(have.get(key) == value for key, value in want.items() if key != "requirements")
    if only_requirements:
        say("requirements.txt has changed: updating the environment")
    else:
        cuda = "with PyTorch for CUDA, about 2 GB to download, 6 GB on disk"
        say(f"making {environment}: {cuda if want['torch'] == PYPI else 'with PyTorch for the CPU'}")
        make_environment(environment)
    packages = [pin for pin in pins(requirements) if name_of(pin) != "ffcv"]
    if want["torch"] != PYPI:
        index = CPU_INDEX if want["torch"] == "cpu" else want["torch"]
        torch = [pin for pin in packages if name_of(pin) in ("torch", "torchvision")]
        run("Installing PyTorch for the CPU", *uv.install(*torch, index=index), env=uv.variables)
        packages = [pin for pin in packages if pin not in torch and not FOR_CUDA.match(pin)]
    # Python keeps compiled modules when it first imports them, where it may. Otherwise each process would compile them.
    options = ["--compile-bytecode"] if sys.dont_write_bytecode else []
    run("Installing requirements.txt", *uv.install(*options, *packages), env=uv.variables)
