"""A clean clone of the last commit, in which the whole pipeline runs once more."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.folders import Folders
from formwork.params import load_params
from formwork.text import format_bytes
from formwork.tools.experiments.pipeline import FETCH, WEIGHTS, Pipeline
from formwork.tools.experiments.place import CLONE, clone, edited_config, run_dvc, set_up_dvc

FROM_CACHE = "from DVC's cache"
FETCHED = "fetched again"
LOG = "repro"


@dataclass(frozen=True)
class Plan:
    """How a clone is run.

    Attributes:
        stages: that run, in their order.
        taken: what is taken from DVC's cache instead: stages, and files that were added to DVC.
    """

    stages: list[str]
    taken: list[str]


class Clone:
    """
    Args:
        root: of the repository. head: the commit.
        place, lock: see own_place.
        fetch: download again what was downloaded.

    Attributes:
        folder: of the clone.
        raw: in words, where the raw images of the dataset come from.
    """

    def __init__(self, root: Path, head: str, place: Path, lock: int, fetch: bool):
        self.folder = place / CLONE
        self.raw = ""
        self._root = root
        self._head = head
        self._place = place
        self._lock = lock
        self._fetch = fetch

    @property
    def log(self) -> Path:
        """What the pipeline printed."""
        return self._place / f"{LOG}.log"

    def make(self, cache: Path, locked: Mapping[str, object]) -> Plan:
        """Make the clone, with the raw data and with an empty cache of its own.

        Args:
            cache: DVC's cache of the repository, which gives what is not made here.
            locked: stages that dvc.lock has.

        Raises:
            FormworkError: data is neither in the cache nor in the remote.
        """
        clone(self._root, self.folder, self._head)
        set_up_dvc(self._root, self.folder, cache)
        plan = self._plan(locked)
        if plan.taken:
            self._bring(plan.taken)
        raw = Folders.of(load_params(self.folder).data.name).raw
        fetched = f"{FETCH}{raw.name}"
        if not Pipeline(self.folder).is_tracked(raw):
            self._link(raw)
            self.raw = "of the workspace: DVC does not keep them"
        else:
            self.raw = FETCHED if any(stage.endswith(fetched) for stage in plan.stages) else FROM_CACHE
        with edited_config(self.folder) as config:
            config["cache"]["dir"] = str(self.folder / ".dvc/cache")
        return plan

    def run(self, plan: Plan) -> None:
        """
        Raises:
            FormworkError: a stage failed; with its last lines, and where to read all of them.
            KeyboardInterrupt: Ctrl-C; all of it has ended.
        """
        run_dvc(self.folder, self.log, self._lock, "repro", "--no-run-cache", "--force", "--single-item", *plan.stages)

    def _plan(self, locked: Mapping[str, object]) -> Plan:
        from dvc.stage import PipelineStage
        from networkx import topological_sort

        published = load_params(self.folder).model.model_dump().get("weights") == "default"
        stages: list[str] = []
        taken = Pipeline(self.folder).added()
        with Pipeline(self.folder).opened() as repo:
            graph = repo.index.graph  # from each stage to those that it needs
            for stage in reversed(list(topological_sort(graph))):
                if not isinstance(stage, PipelineStage):
                    continue
                downloads = stage.name.startswith(FETCH) or (stage.name == WEIGHTS and published)
                if downloads and not graph.in_degree(stage):  # no stage needs it
                    continue
                from_cache = downloads and not self._fetch and stage.name in locked
                (taken if from_cache else stages).append(stage.addressing)
        return Plan(stages, taken)

    def _bring(self, what: list[str]) -> None:
        """Check out from the cache, and what it lacks from the remote."""
        log = self._place / "data.log"
        try:
            run_dvc(self.folder, log, self._lock, "checkout", *what)
        except FormworkError:
            try:
                run_dvc(self.folder, log, self._lock, "pull", *what)
            except FormworkError as error:
                names = ", ".join(map(printable, what))
                raise FormworkError(
                    f"{names} cannot be had from DVC's cache or remote: `dvc pull` brings it, or --fetch downloads "
                    f"again what the pipeline downloads.\n{error}"
                ) from error

    def _link(self, raw: Path) -> None:
        there = (self._root / raw).resolve()
        if not there.exists():
            raise FormworkError(f"{raw} is missing, and DVC does not keep it. Put the images there.")
        (self.folder / raw).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / raw).symlink_to(there)


def check_space(place: Path, needed: int) -> None:
    """Say how much space a verification takes, and refuse to begin where there is less.

    Raises:
        FormworkError: the disk has too little.
    """
    free = shutil.disk_usage(place).free
    print(f"The clone needs about {format_bytes(needed)} in {place}; {format_bytes(free)} are free.", flush=True)
    if free < needed:
        raise FormworkError(f"There is too little space in {place}. Free some, or verify on another machine.")
