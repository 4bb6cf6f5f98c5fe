"""Which runs a comparison needs, and which of them are finished."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from formwork.errors import FormworkError, ParamsError
from formwork.folders import Folders
from formwork.images.manifest import TRAINING
from formwork.params import Params
from formwork.system import machine, machine_id
from formwork.tools.compare.cases import Case, of_loaders
from formwork.tools.compare.runs import Run, named_machine, runs_of
from formwork.tools.experiments.pipeline import Pipeline, Stages
from formwork.tools.experiments.results import find_results


class Installation:
    """What finished runs must have been made with to be reused, and DVC does not look at: machine and installation."""

    def __init__(self, params: Params):
        self.params = params

    @cached_property
    def machine(self) -> str:
        """In words, with its id."""
        return named_machine(machine(), machine_id())

    @cached_property
    def ffcv_fault(self) -> str | None:
        """Why FFCV cannot load the dataset; None where it can."""
        from formwork.loading.factory import make_loader
        from formwork.loading.project import ProjectData  # torch takes seconds to import

        data = ProjectData(self.params, Folders.of(self.params.data.name))
        try:
            for split in TRAINING:
                loader = make_loader(data.splits[split], data.config(split, 0, 1), use_ffcv=True, fallback="error")
                loader.wait_for_kernels()  # what is compared is how fast they are
        except FormworkError as error:
            return str(error.__cause__ or error)
        return None

    def measured(self, run: Run) -> bool:
        """Whether a run was measured on this machine."""
        return named_machine(run.machine, run.machine_id) == self.machine

    def why_not(self, run: Run) -> str | None:
        """Why a run is not reused, though it is of the present params, data and code; None where it is."""
        if run.fell_back and self.ffcv_fault is None:
            return "FFCV could not load then, and can now"
        return None


@dataclass
class RunPlan:
    """The runs of a case with a seed.

    Attributes:
        wanted: its stages. needed: how many runs there are to be.
        everywhere: runs of other machines count, too: for their scores.
        runs: those that count. others: finished ones that do not.
    """

    case: Case
    wanted: Stages
    needed: int
    everywhere: bool
    runs: list[Run] = field(default_factory=list)
    others: list[Run] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """How many are still to be run."""
        return max(self.needed - len(self.runs), 0)

    def take(self, run: Run, installation: Installation) -> str | None:
        """Count a finished run, if it can be; gives the reason where it cannot."""
        known = {other.identity for other in self.runs + self.others}
        run = replace(run, here=installation.measured(run))
        if run.identity in known:
            reason: str | None = "it is a measurement that is counted already"
        elif not run.here and not self.everywhere:
            reason = f"it was measured on another machine, {named_machine(run.machine, run.machine_id)}"
        else:
            reason = installation.why_not(run)
        (self.others if reason else self.runs).append(run)
        return reason


def make_plans(
    pipeline: Pipeline, installation: Installation, cases: Sequence[Case], repeat: int, seeds: int
) -> list[RunPlan]:
    """A plan for each case and seed, with the finished runs of it; says what is reused and what is not.

    Raises:
        ParamsError: a case cannot be run beside the others.
    """
    everywhere = not of_loaders(cases)
    plans = [
        RunPlan(case.with_seed(seed), wanted, repeat, everywhere)
        for seed in range(installation.params.seed, installation.params.seed + seeds)
        for case, wanted in zip(cases, _wanted(pipeline, cases), strict=True)
    ]
    for plan in plans:
        plan.wanted = {name: stage.of(plan.case.content) for name, stage in plan.wanted.items()}
    results = find_results(pipeline.root, {name for plan in plans for name in plan.wanted})
    for plan in plans:
        found = runs_of(results, plan.case, plan.wanted)
        for run in sorted(found, key=lambda run: not installation.measured(run)):  # those of this machine first
            if not plan.missing:
                break
            print(f"{plan.case}: {run.source} is {_said(plan.take(run, installation), plan)}")
        if plan.missing:
            finished = f"{len(plan.runs)} of {repeat} are finished with these params, data and code"
            print(f"{plan.case}: {plan.missing} to be run: {finished}")
    return plans


def _wanted(pipeline: Pipeline, cases: Sequence[Case]) -> Iterator[Stages]:
    """The stages that each case runs, as they are in the workspace."""
    known: dict[tuple[str, ...], Stages] = {}
    for case in cases:
        try:
            names = tuple(pipeline.needed(case.content))
        except ParamsError as error:
            raise ParamsError(f"{case.name}: {error}") from error
        if names not in known:
            known[names] = pipeline.stages(names)
        yield known[names]


def _said(reason: str | None, plan: RunPlan) -> str:
    if reason:
        return f"not reused: {reason}"
    run = plan.runs[-1]
    if run.here:
        return "reused"
    machine = named_machine(run.machine, run.machine_id)
    return f"reused, but for its seconds: it was measured on another machine, {machine}"
