"""Checks of Python, its packages, the libraries that FFCV is built with, and the GPU."""

import importlib
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from formwork.errors import ParamsError
from formwork.text import count
from formwork.tools.doctor.children import Failed
from formwork.tools.doctor.project import LIBRARIES_SECONDS, Project
from formwork.tools.doctor.verdict import NotChecked, Result, note, ok, problem

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
    """The interpreter, and whether it is that of a .venv that is set up to the end."""
    import install

    which = f"Python {platform.python_version()}"
    venv = Path(".venv")
    if not venv.exists():
        return note(f"{which} of {sys.prefix}; there is no .venv here", "make setup")
    if Path(sys.prefix).resolve() != venv.resolve():
        return note(f"{which} of {sys.prefix}, and not that of .venv", ". .venv/bin/activate")
    have = install.read_stamp(venv)
    if not have:
        return note(f"{which}; the set-up of .venv was interrupted", "make setup")
    if have != install.fingerprint(Path.cwd()):
        return note(f"{which}; .venv was set up for another requirements.txt, Python or place", "make setup")
    if sys.version_info[:2] > NEWEST:
        return note(f"{which}; tests have run up to {'.'.join(map(str, NEWEST))}")
    return ok(f"{which} of .venv, which is set up for this requirements.txt")


def packages(project: Project) -> Result:
    """Installed versions against those of requirements.txt."""
    from packaging.requirements import Requirement

    try:
        text = Path("requirements.txt").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotChecked("there is no requirements.txt here") from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    wanted = [Requirement(line) for line in lines if line]
    wanted = [requirement for requirement in wanted if not requirement.marker or requirement.marker.evaluate()]
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
    """Whether FFCV can be imported, in a process of its own: a library that does not fit may end it."""
    try:
        return ok(f"ffcv {project.libraries.get('ffcv', LIBRARIES_SECONDS)} is there")
    except (Failed, TimeoutError) as error:
        return _needed(project, f"ffcv cannot be imported ({error})", "make setup")


def build_libraries(project: Project) -> Result:
    """What `make setup` builds ffcv with; the list is that of src/install.py."""
    import install

    missing = install.missing_needs()
    if not missing:
        return ok("compiler, Python's headers, pkg-config, OpenCV and libturbojpeg are found")
    finding = f"not found: {install.packages(missing, 'apt')}, as Debian names them"
    try:
        project.libraries.get("ffcv", LIBRARIES_SECONDS)
    except (Failed, TimeoutError):
        return _needed(project, f"{finding}; ffcv cannot be built without", *install.install_commands(missing))
    return note(f"{finding}; ffcv is there, and could not be built again", *install.install_commands(missing))


def _needed(project: Project, finding: str, *commands: str) -> Result:
    """Of what FFCV needs: without, training stops or goes on with PyTorch, as ffcv.fallback says."""
    if not project.params.data.use_ffcv:
        return note(f"{finding}; data.use_ffcv is false", *commands)
    if project.params.ffcv.fallback == "error":
        return problem(finding, *commands)
    return note(f"{finding}; training falls back to PyTorch", *commands)


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
