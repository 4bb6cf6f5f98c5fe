"""Checks of Python, its packages, the libraries that FFCV is built with, and the GPU."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from formwork.errors import ParamsError
from formwork.text import count
from formwork.tools.doctor.children import Failed
from formwork.tools.doctor.project import LIBRARIES_SECONDS, Project
from formwork.tools.doctor.verdict import NotChecked, Result, note, ok, problem
from formwork.tools.setup.environment import PYPI, find_environment, read_stamp, stamp_of
from formwork.tools.setup.ffcv_build import FAILED, INSTALLED, NEEDS, REBUILD
from formwork.tools.setup.requirements import FOR_CUDA, pins
from formwork.tools.setup.system_packages import install_commands, package_names, unmet

if TYPE_CHECKING:
    from formwork.params import Params

NEWEST = (3, 13)  # Python that the tests have run with
NAMED = 6  # packages in a message
STAGES = {  # what each imports, its script apart
    "fetch": "formwork.sources.fetch",
    "link": "formwork.datasets.link",
    "convert": "formwork.conversion.write",
    "train": "formwork.training.fit",
    "evaluate": "formwork.evaluation.evaluate",
    "dvc": "dvc.repo",
}


def python(project: Project) -> Result:
    """The interpreter, and whether it is that of an environment that is set up to the end."""
    which = f"Python {platform.python_version()}"
    there = find_environment(Path.cwd())
    if not (there / "bin").exists():
        return note(f"{which} of {sys.prefix}; there is no {_shown(there)} here", "make setup")
    if Path(sys.prefix).resolve() != there:
        return note(f"{which} of {sys.prefix}, and not that of {_shown(there)}", f". {_shown(there)}/bin/activate")
    have = read_stamp(there)
    if "requirements" not in have:
        return note(f"{which}; the set-up of {_shown(there)} was interrupted", "make setup")
    if not stamp_of(Path.cwd(), there).items() <= have.items():
        return note(f"{which}; {_shown(there)} was set up for another requirements.txt, Python or place", "make setup")
    if sys.version_info[:2] > NEWEST:
        return note(f"{which}; tests have run up to {'.'.join(map(str, NEWEST))}")
    return ok(f"{which} of {_shown(there)}, which is set up for this requirements.txt")


def _shown(environment: Path) -> str:
    return ".venv" if environment == Path(".venv").resolve() else str(environment)


def packages(project: Project) -> Result:
    """Installed versions against those of requirements.txt."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(pin) for pin in pins(Path("requirements.txt"))]
    except FileNotFoundError as error:
        raise NotChecked("there is no requirements.txt here") from error
    stamp = read_stamp(find_environment(Path.cwd()))
    left_out = ("ffcv",) if stamp.get("ffcv", INSTALLED) != INSTALLED else ()  # the next check says why
    wanted = [one for one in wanted if (not one.marker or one.marker.evaluate()) and one.name not in left_out]
    if stamp.get("torch", PYPI) != PYPI:
        wanted = [one for one in wanted if not FOR_CUDA.match(one.name)]
    faults = []
    for requirement in wanted:
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            faults.append(f"{requirement.name} is missing")
        else:
            if not requirement.specifier.contains(found, prereleases=True):
                faults.append(f"{requirement.name} is {found} instead of {str(requirement.specifier).lstrip('=')}")
    if not faults:
        return ok(f"all {len(wanted)} are of the versions of requirements.txt")
    more = f", and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    return note(f"not as in requirements.txt: {', '.join(faults[:NAMED])}{more}", "make setup")


def imports(project: Project) -> Result:
    """Whether each stage can start."""
    faults: dict[str, list[str]] = {}
    for stage, module in STAGES.items():
        if module.startswith(("formwork.training", "formwork.evaluation")):
            try:
                project.need_libraries()
            except NotChecked as error:
                faults.setdefault(str(error), []).append(stage)
                continue
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken package raises anything
            faults.setdefault(f"{type(error).__name__}: {error}", []).append(stage)
    if not faults:
        return ok("all stages can start")
    listed = "; ".join(f"{', '.join(stages)} ({error})" for error, stages in faults.items())
    return problem(f"cannot start: {listed}", "make setup")


def ffcv(project: Project) -> Result:
    """Whether FFCV can be imported, in a process of its own: a library that does not fit may end it. Where it cannot,
    what it is built with, and is missing."""
    try:
        return ok(f"ffcv {project.libraries.get('ffcv', LIBRARIES_SECONDS)} is there")
    except (Failed, TimeoutError) as error:
        finding = f"ffcv cannot be imported ({error})"
    commands = ["make setup"]
    if missing := unmet(NEEDS):
        finding += f", nor built: {package_names(missing)}, as Debian names them, are missing"
        commands = [*install_commands(missing), *commands]
    elif read_stamp(find_environment(Path.cwd())).get("ffcv") == FAILED:
        commands = [REBUILD]
    named = _ffcv_operations(project.params)
    if named:
        return problem(f"{finding}, and augment names {', '.join(named)}", *commands)
    return note(f"{finding}; only operations ffcv.* need it, and there are none", *commands)


def _ffcv_operations(params: Params) -> list[str]:
    """Names of FFCV's operations in the augmentation lists."""
    views = params.augment.views if isinstance(params.augment.views, list) else []
    lists = [params.augment.train, params.augment.val, params.dataset.augment.train, params.dataset.augment.val]
    lists += [view.operations for view in views]
    names = (name for operations in lists for operation in operations or [] for name in operation)
    return sorted({name for name in names if name.startswith("ffcv.")})


def gpu(project: Project) -> Result:
    """The GPUs, and whether this torch can use them."""
    try:
        torch = project.libraries.get("torch", LIBRARIES_SECONDS)
    except (Failed, TimeoutError) as error:
        return problem(f"torch cannot be imported, or its GPU does not answer ({error})", "make setup")
    return judge_gpu(torch, list(Path("/dev").glob("nvidia[0-9]*")), project.params.trainer.accelerator)


def judge_gpu(torch: dict, devices: Sequence[Path], accelerator: str) -> Result:
    """Args:
    torch: see formwork.tools.doctor.probes. devices: those of NVIDIA GPUs in /dev. accelerator: trainer.accelerator.
    """
    named = f"torch {torch['version']}"
    why = f": {torch['warnings'][0]}" if torch["warnings"] else ""
    if torch["fault"]:
        finding = f"{named} cannot use {', '.join(torch['names'])}: {torch['fault']}"
        command = "dvc exp run -S trainer.accelerator=cpu"
        return note(f"{finding}; the CPU trains") if accelerator == "cpu" else problem(finding, "make setup", command)
    if torch["names"]:
        names = ", ".join(f"{torch['names'].count(name)} x {name}" for name in dict.fromkeys(torch["names"]))
        return note(f"{names}{why}") if why else ok(f"{names}, {named} for {torch['built_for']}")
    if torch["mps"]:
        return ok(f"Apple's GPU, {named}")
    if devices and not torch["built_for"]:
        return note(f"{count(len(devices), 'NVIDIA GPU')} here, and {named} is built for the CPU alone", "make setup")
    if devices:
        return note(
            f"{count(len(devices), 'NVIDIA GPU')} here, which {named} for {torch['built_for']} cannot use"
            f"{why or ': is the driver as new as that?'}",
            "nvidia-smi",
        )
    return ok(f"no GPU: the CPU trains ({named})")


def trainer(project: Project) -> Result:
    """Whether Lightning can be had with the section `trainer` of params.yaml on this machine."""
    params = project.params.trainer
    try:
        made = project.trainer
    except ParamsError as error:
        return problem(error)
    device = made.strategy.root_device.type
    if device == "cpu" and project.libraries.get("torch", LIBRARIES_SECONDS)["names"]:
        return note("trains on the CPU, and there is a GPU", "dvc exp run -S trainer.accelerator=auto")
    where = f"{count(made.world_size, 'device')} ({device})"
    if made.world_size > 1 and not project.params.ffcv.distributed:
        return problem(
            f"trainer.devices {params.devices} is {where} here, and ffcv.distributed is false: each device would train "
            "on the same images",
            "dvc exp run -S ffcv.distributed=true",
        )
    return ok(f"{where}, precision {params.precision}")
