"""What tools ask DVC: whether the data is up to date, and what a training would depend on now."""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formwork.errors import DatasetError, FormworkError, ParamsError

if TYPE_CHECKING:
    from dvc.repo import Repo

TRAINING = ("train", "evaluate")
"""The stages that every experiment runs."""
DATA = "convert"
"""The last of the stages that make the data."""
WEIGHTS = "weights"
"""The stage that gets those that a training starts from."""
INPUTS = (DATA, WEIGHTS)
"""The last of the stages that make what a training starts from."""
FETCH = "fetch@"
"""How the names of stages begin that make raw images."""
CHECKS = ("try", "check")
"""Stages that make nothing."""


@dataclass(frozen=True)
class Stage:
    """A stage as an entry of dvc.lock: its command, MD5 of dependencies and outputs by path, values of params by name.
    DVC runs it again when one of them changes."""

    cmd: str
    deps: Mapping[str, str | None]
    params: Mapping[str, Any]
    outs: Mapping[str, str | None] = field(default_factory=dict)

    def of(self, params: Mapping[str, Any]) -> "Stage":
        """The stage with other params.

        Args:
            params: the content of a params.yaml.
        """
        return replace(self, params={name: value_at(params, name) for name in self.params})


Stages = Mapping[str, Stage]
"""Stages by their names, in the order in which they run."""


def value_at(params: Any, key: str) -> Any:
    """The value of a dotted key; None where it is not there, as DVC has it."""
    for step in key.split("."):
        params = params.get(step) if isinstance(params, Mapping) else None
    return params


def read_lock(content: bytes, names: Collection[str] = TRAINING) -> Stages:
    """Those of the named stages that a dvc.lock holds; none where it cannot be read."""
    from dvc.utils.serialize import ParseError, parse_yaml

    try:
        # The other stages are left out before: there may be hundreds of experiments, and all params of all datasets
        # are in each. DVC reads it, because other parsers read some numbers otherwise.
        sections = re.split(r"^(?=  \S)", content.decode(), flags=re.MULTILINE)
        stages = parse_yaml("".join(s for s in sections if s.split(":")[0].strip() in names), "dvc.lock")
        return {
            name: Stage(
                cmd=entry["cmd"],
                deps={dep["path"]: dep.get("md5") for dep in entry.get("deps", [])},
                params=entry.get("params", {}).get("params.yaml", {}),
                outs={out["path"]: out.get("md5") for out in entry.get("outs", [])},
            )
            for name, entry in stages.items()
        }
    except (ParseError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        return {}


def matches(lock: Stages, wanted: Stages) -> bool:
    """Whether what `lock` tells of is what `wanted` would be: then DVC would not run it again."""
    if not lock.keys() >= wanted.keys():
        return False
    made = {path: md5 for name in wanted for path, md5 in lock[name].outs.items()}
    for name, stage in wanted.items():
        found = lock[name]
        deps = {**stage.deps, **{path: made[path] for path in found.deps if path in made}}
        if (found.cmd, found.params, found.deps) != (stage.cmd, stage.params, deps):
            return False
    return True


def digest(wanted: Stages) -> str:
    """Seven digits that stand for all that runs depend on."""
    content = json.dumps(
        [[name, s.cmd, s.deps, s.params] for name, s in sorted(wanted.items())], sort_keys=True, default=str
    )
    return hashlib.sha256(content.encode()).hexdigest()[:7]


class Pipeline:
    """The pipeline of a workspace, as it is now. Nothing is written.

    Raises:
        FormworkError: DVC cannot read it, or another DVC command is running.
    """

    def __init__(self, root: Path):
        self.root = root

    def check_data(self, raw: Path) -> None:
        """Refuse data that is missing, not up to date, or not in DVC's cache.

        Raises:
            DatasetError: with what DVC says, and the command to run.
        """
        if not (self.root / raw).exists():
            raise DatasetError(
                f"{raw} is missing, and the PyTorch loader reads the original images. Run `dvc pull` or `dvc repro "
                f"{DATA}`, or correct data.name in params.yaml."
            )
        with self.opened() as repo:
            status = repo.status(targets=list(INPUTS), with_deps=True)
        for stage in CHECKS:  # the params of the runs are checked by the runs
            status.pop(stage, None)
        if status:
            lines = "\n".join(f"  {line}" for line in _explain(status))
            raise DatasetError(f"The data is not up to date:\n{lines}\nRun `dvc repro {' '.join(INPUTS)}` first.")

    def is_tracked(self, path: Path) -> bool:
        """Whether a path is an output of a stage, or was added to DVC."""
        from dvc.exceptions import OutputNotFoundError

        with self.opened() as repo:
            try:
                return bool(repo.find_outs_by_path(str(path)))
            except OutputNotFoundError:
                return False

    def cache_folder(self) -> Path:
        with self.opened() as repo:
            return Path(repo.cache.local_cache_dir).absolute()

    def stages(self, names: Sequence[str] = TRAINING) -> Stages:
        """The named stages with what they depend on now, but for what one of them makes for another."""
        with self.opened() as repo:
            stages = [repo.stage.load_one(name=name) for name in names]
            made = {out.def_path for stage in stages for out in stage.outs}
            return {stage.name: _as_it_is(stage, made) for stage in stages}

    def needed(self, params: Mapping[str, Any]) -> list[str]:
        """The stages that an experiment with these params runs, in their order: all but those before INPUTS that are
        as they are in the workspace, and CHECKS.

        Args:
            params: the content of a params.yaml.

        Raises:
            ParamsError: the experiment would be of another dataset, or fetch raw images.
        """
        from dvc.stage import PipelineStage
        from networkx import descendants, topological_sort

        with self.opened() as repo:
            graph = repo.index.graph  # from each stage to those that it needs
            last = repo.stage.load_one(name=TRAINING[-1])
            ends = {stage for name in INPUTS for stage in repo.stage.collect(name)}
            inputs = ends | {stage for end in ends for stage in descendants(graph, end)}
            used = {last, *descendants(graph, last)}
            chosen: dict[Any, str] = {}
            for stage in reversed(list(topological_sort(graph))):
                if stage not in used or not isinstance(stage, PipelineStage) or stage.name in CHECKS:
                    continue  # the others are data that was added to DVC
                changed = stage not in inputs or _differs(stage, params) or not chosen.keys().isdisjoint(graph[stage])
                if changed and stage.name.startswith(FETCH):
                    raise ParamsError("it would fetch other raw images. Set it in params.yaml, and compare with that.")
                if changed:
                    chosen[stage] = stage.name
            return list(chosen.values())

    def added(self) -> list[str]:
        """The .dvc files of what was added to DVC and stages need: raw images, weights."""
        from dvc.stage import PipelineStage

        with self.opened() as repo:
            graph = repo.index.graph
            needed = {other for stage in graph if isinstance(stage, PipelineStage) for other in graph[stage]}
            return sorted(stage.relpath for stage in needed if not isinstance(stage, PipelineStage))

    @contextmanager
    def opened(self) -> "Iterator[Repo]":
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        before = Path.cwd()
        os.chdir(self.root)  # DVC takes dvc.yaml, and what it names, from there
        try:
            with Repo() as repo:
                yield repo
        except DvcException as error:
            raise FormworkError(f"DVC: {error}") from error
        except FileNotFoundError as error:
            raise FormworkError(f"{error.filename} is missing, and dvc.yaml names it. Restore it.") from error
        finally:
            os.chdir(before)


def _as_it_is(stage: Any, made: set[str]) -> Stage:
    from dvc.dependency import ParamsDependency

    deps: dict[str, str | None] = {}
    params: dict[str, Any] = {}
    for dep in stage.deps:
        if isinstance(dep, ParamsDependency):
            params |= dep.get_hash().value
        elif dep.def_path not in made:
            deps[dep.def_path] = dep.get_hash().value
    return Stage(stage.cmd, deps, params)


def _differs(stage: Any, params: Mapping[str, Any]) -> bool:
    """Whether a stage has other values of its params in the workspace."""
    here = _as_it_is(stage, {dep.def_path for dep in stage.deps}).params
    return any(value_at(params, name) != value for name, value in here.items())


def _explain(status: Mapping[str, Any]) -> Iterator[str]:
    """`link: changed deps: data/raw/photos modified`, from what `dvc status` finds."""
    for stage, changes in status.items():
        for change in changes:
            if isinstance(change, str):
                yield f"{stage}: {change}"
                continue
            for kind, paths in change.items():
                for path, state in paths.items():
                    yield f"{stage}: {kind}: {path} {_state(state)}"


def _state(state: Any) -> str:
    return ", ".join(f"{name} {change}" for name, change in state.items()) if isinstance(state, dict) else str(state)
