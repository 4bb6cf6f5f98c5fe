"""Checks of DVC: the repository, what is out of date, and the remote."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from formwork.tools.doctor.children import Failed
from formwork.tools.doctor.project import Project
from formwork.tools.doctor.resources import nearest
from formwork.tools.doctor.verdict import NotChecked, Result, note, ok, problem

SECONDS, FULL_SECONDS = 10, 3600  # for DVC to answer
SHOWN = 2  # reasons of a stage
ABSENT = {"not in cache", "deleted"}
BUSY = ("Unable to acquire lock", "is busy")
PASSWORD = re.compile(r"(?<=//)[^/@]+@")


def repository(project: Project) -> Result:
    try:
        found = project.dvc.get("repository", _seconds(project))
    except (Failed, TimeoutError) as error:
        reason = str(error)
        if "not a git repository" in reason:
            return problem(f"no stage can be run by DVC: {reason}", "git init")
        if "not inside of a DVC repository" in reason:
            return problem(f"no stage can be run by DVC: {reason}", "git init", "dvc init")
        if reason.startswith("No module"):
            return problem(f"no stage can be run by DVC: {reason}", "make setup")
        return problem(f"DVC cannot be used: {reason}", "dvc doctor")
    if Path(found["root"]).resolve() != Path.cwd().resolve():
        return note(f"the DVC repository is that of {found['root']}: run from there")
    return ok(f"a DVC repository, with its cache in {os.path.relpath(found['cache'])}")


def status(project: Project) -> Result:
    """What `dvc status` says, as far as it can be had soon."""
    _need_repository(project)
    try:
        found = project.dvc.get("status", _seconds(project))
    except TimeoutError:
        return note(f"`dvc status` takes more than {_seconds(project)} s: many files are to be hashed", "dvc status")
    except Failed as error:
        if any(words in str(error) for words in BUSY):
            return note(f"not checked: another DVC process is at work ({error})")
        return problem(f"`dvc status` fails: {error}", "dvc status --verbose")
    return summary(found, project.params.data.name)


def summary(status: dict[str, list], dataset: str) -> Result:
    """Args:
    status: as `dvc status --json` gives it. dataset: data.name.
    """
    if not status:
        return ok("everything is up to date")
    edited = [stage.partition("@")[2] for stage in status if "fetch@" in stage and "modified" in _outs(status[stage])]
    if edited:
        name = dataset if dataset in edited else edited[0]
        finding = (
            f"data/raw/{name} was edited after it was fetched: `dvc repro` refuses to fetch over it, and `dvc exp run` "
            f"puts the original back. Keep it as a dataset of your own, and set data.name to {name}-mine"
        )
        commands = (f"mv data/raw/{name} data/raw/{name}-mine", f"dvc add data/raw/{name}-mine")
        return problem(finding, *commands) if name == dataset else note(finding, *commands)
    stages = {stage.rpartition(":")[2]: changes for stage, changes in status.items() if not stage.endswith(".dvc")}
    own = {stage.removesuffix(".dvc"): _outs(changes) for stage, changes in status.items() if stage.endswith(".dvc")}
    add = [f"dvc add {path}" for path, states in own.items() if "modified" in states]
    absent = all({state for _, state in _flat(changes)} <= ABSENT for changes in status.values())
    if absent:
        return note(f"not here: {', '.join([*own, *stages])}", "dvc pull", *(["dvc repro"] if stages else []))
    listed = [f"{path} (changed since `dvc add`)" for path, states in own.items() if "modified" in states]
    by_reason: dict[str, list[str]] = {}
    for stage, changes in stages.items():
        by_reason.setdefault(", ".join(list(_reasons(changes))[:SHOWN]), []).append(stage)
    listed += [f"{', '.join(names)} ({reason})" for reason, names in by_reason.items()]
    finding = f"out of date: {'; '.join(listed)}"
    if add:
        finding += (
            ". `dvc add` keeps your edits; where git brought another version of the .dvc file, `dvc checkout` instead"
        )
    return note(finding, *add, *(["dvc repro"] if stages else []))


def _outs(changes: list) -> set[str]:
    """The states of the outputs of a stage that are not as they were."""
    return {s for change in changes if isinstance(change, dict) for s in change.get("changed outs", {}).values()}


def _reasons(changes: list) -> Iterator[str]:
    for path, state in _flat(changes):
        yield path if state == "modified" else f"{path} {state}".strip()


def _flat(changes: list) -> Iterator[tuple[str, str]]:
    """(path or param, state) of each change of a stage."""
    for change in changes:
        if isinstance(change, str):
            yield "", change
            continue
        for paths in change.values():
            for path, state in paths.items():
                if isinstance(state, dict):
                    yield from state.items()
                else:
                    yield path, state


def remote(project: Project) -> Result:
    """Whether there is a remote, and whether it answers."""
    _need_repository(project)
    try:
        found = project.dvc.get("remote", _seconds(project))
    except TimeoutError:
        return note(f"the remote does not answer within {_seconds(project)} s", "dvc push --verbose")
    except Failed as error:
        return note(f"the remote cannot be reached: {error}", "dvc remote list")
    if found["name"] is None and found["others"]:
        return note(
            f"no default among the remotes {', '.join(found['others'])}", f"dvc remote default {found['others'][0]}"
        )
    if found["name"] is None:
        return note("no remote: betons are not shared", "dvc remote add --default storage ssh://user@host/path")
    url = PASSWORD.sub("", found["url"])
    if found["local"] and not found["exists"] and nearest(Path(url)) != Path(url).parent:
        return note(f"remote {found['name']}: {url} is not there. Is it mounted?", "dvc remote list")
    if not found["exists"]:
        return ok(f"remote {found['name']}, {url}, answers; nothing was pushed yet")
    return ok(f"remote {found['name']}, {url}, answers")


def _need_repository(project: Project) -> None:
    try:
        project.dvc.get("repository", _seconds(project))
    except (Failed, TimeoutError) as error:
        raise NotChecked("there is no DVC repository that can be used") from error


def _seconds(project: Project) -> int:
    return FULL_SECONDS if project.full else SECONDS
