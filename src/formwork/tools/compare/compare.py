"""Compare the loaders: run what has not been run yet, take the rest from finished runs, and tables."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from formwork.errors import FormworkError
from formwork.files import check_writable, write_text
from formwork.folders import Folders
from formwork.formats import write_json
from formwork.git import check_repository
from formwork.images.manifest import TRAINING
from formwork.params import Params
from formwork.system import machine, machine_id
from formwork.text import count
from formwork.tools.compare import tables
from formwork.tools.compare.case import Case
from formwork.tools.compare.chart import draw
from formwork.tools.compare.runs import Run, find_results, in_folder, runs_of
from formwork.tools.compare.summary import Summary
from formwork.tools.experiments.pipeline import TRAINING as STAGES
from formwork.tools.experiments.pipeline import Pipeline, Stages, digest
from formwork.tools.experiments.workspace_copy import Copy, copied


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
                make_loader(data.splits[split], data.config(split, 0, 1), use_ffcv=True, fallback="error")
        except FormworkError as error:
            return str(error.__cause__ or error)
        return None

    def why_not(self, run: Run) -> str | None:
        """Why a run is not reused, though it is of the present params, data and code; None where it is."""
        if named_machine(run.machine, run.machine_id) != self.machine:
            return f"it was measured on another machine, {named_machine(run.machine, run.machine_id)}"
        if run.fell_back and self.ffcv_fault is None:
            return "FFCV could not load then, and can now"
        return None


@dataclass
class RunPlan:
    """The runs of a case.

    Attributes:
        wanted: its stages. needed: how many runs there are to be.
        runs: that count. others: finished ones that do not.
    """

    case: Case
    wanted: Stages
    needed: int
    runs: list[Run] = field(default_factory=list)
    others: list[Run] = field(default_factory=list)

    @property
    def missing(self) -> int:
        """How many are still to be run."""
        return max(self.needed - len(self.runs), 0)

    def take(self, run: Run, installation: Installation) -> str | None:
        """Count a finished run, if it can be; gives the reason where it cannot."""
        known = {other.identity for other in self.runs + self.others}
        reason = "it is a measurement that is counted already" if run.identity in known else installation.why_not(run)
        (self.others if reason else self.runs).append(run)
        return reason


def compare(params: Params, repeat: int, seeds: int, results: Path, command: str, dry_run: bool = False) -> None:
    """Compare the loaders on the dataset of params.yaml, in the repository whose root is the current folder.

    Args:
        params: of the workspace.
        repeat: runs with each loader and seed. seeds: how many seeds, that of the params and those after it.
        results: folder for compare.json, compare.md and the picture.
        command: what repeats this, for the page.
        dry_run: only say what would be run.

    Raises:
        FormworkError: there can be no experiments here, the data is not up to date, or an experiment failed.
        KeyboardInterrupt: Ctrl-C. Experiments that are finished are kept, and nothing else.
    """
    check_repository(Path())
    pipeline, installation = Pipeline(Path()), Installation(params)
    pipeline.check_data(Folders.of(params.data.name).raw)
    conversion = _conversion_seconds()
    plans = make_plans(pipeline, installation, repeat, seeds)
    if dry_run:
        _say_what_is_missing(plans)
        return
    check_writable(results / "compare.md")
    if any(plan.missing for plan in plans):
        _run_what_is_missing(pipeline, plans, installation)
    runs = [run for plan in plans for run in plan.runs]
    reason = installation.ffcv_fault if any(run.fell_back for run in runs) else None
    summary = Summary(params.data.name, params.trainer.max_epochs, installation.machine, runs, conversion, reason)
    write_json(results / "compare.json", tables.figures(summary, command))
    write_text(results / "compare.md", tables.markdown(summary, command))
    draw(summary, results / tables.PICTURE)
    print(f"\n{tables.text(summary)}\n\nAlso in {results}: compare.md, compare.json and {tables.PICTURE}")


def make_plans(pipeline: Pipeline, installation: Installation, repeat: int, seeds: int) -> list[RunPlan]:
    """A plan for each case, with the finished runs of it; says what is reused and what is not."""
    stages, results = pipeline.training(), find_results(pipeline.root)
    first = installation.params.seed
    plans = []
    for case in [Case(use_ffcv, seed) for seed in range(first, first + seeds) for use_ffcv in (True, False)]:
        plan = RunPlan(case, {name: stage.of(case.overrides) for name, stage in stages.items()}, repeat)
        plans.append(plan)
        for run in runs_of(results, case, plan.wanted):
            if not plan.missing:
                break
            reason = plan.take(run, installation)
            print(f"{case}: {run.source} is " + (f"not reused: {reason}" if reason else "reused"))
        if plan.missing:
            finished = f"{len(plan.runs)} of {repeat} are finished with these params, data and code"
            print(f"{case}: {plan.missing} to be run: {finished}")
    return plans


def _say_what_is_missing(plans: Sequence[RunPlan]) -> None:
    left = [plan for plan in plans if plan.missing]
    print(f"{count(sum(plan.missing for plan in left), 'experiment')} to be run.")
    if left:
        print("They run in a copy of the workspace and its data. Where that is too large, run them in the workspace,")
        print("and then compare: finished runs are found wherever they are.")
    for plan in left:
        settings = " ".join(f"-S {setting}" for setting in plan.case.settings)
        print(f"  dvc exp run {settings}")


def _run_what_is_missing(pipeline: Pipeline, plans: Sequence[RunPlan], installation: Installation) -> None:
    print("Making a copy of the workspace and its data, to run experiments in ...", flush=True)
    try:
        with copied(pipeline, Folders.of(installation.params.data.name), "compare") as copy:
            while left := [plan for plan in plans if plan.missing]:
                for plan in left:  # in turn, so that a busy minute of the machine hits both loaders
                    run_one(copy, plan, installation)
    except KeyboardInterrupt:
        print("Interrupted. Experiments that are finished are kept, and will be reused.")
        raise


def run_one(copy: Copy, plan: RunPlan, installation: Installation) -> None:
    """Run an experiment and count it: the first of a case as DVC thinks fit, which may have its result in its cache;
    but by force where what there is has turned out to be of no use."""
    run, reason = _run_once(copy, plan, installation, force=bool(plan.runs or plan.others))
    if reason:
        run, _ = _run_once(copy, plan, installation, force=True)
    score, seconds = tables.as_text("score", run.score), tables.as_text("seconds", run.seconds)
    print(f"  {run.metric} {score}, {seconds} s an epoch")


def _run_once(copy: Copy, plan: RunPlan, installation: Installation, force: bool) -> tuple[Run, str | None]:
    """The run, and why it does not count."""
    name = copy.new_name(f"{plan.case.asked_for}-{digest(plan.wanted)}")
    print(f"{plan.case}: experiment {name}, run {len(plan.runs) + 1} of {plan.needed} ...", flush=True)
    settings = [f"--set-param={setting}" for setting in plan.case.settings]
    # No other stage is looked at: the data is what it was copied as.
    output = copy.run(name, "--single-item", *(["--force"] if force else []), *settings, *STAGES)
    trained = "Running stage 'train'" in output
    run = in_folder(copy.folder, f"experiment {name}").run(plan.case, plan.wanted)
    if run is None:
        raise FormworkError(f"Experiment {name} lacks figures: read {copy.log(name)}")
    if trained:
        plan.runs.append(run)
        reason = None
    else:
        reason = plan.take(run, installation)
        print("  DVC had it in its cache" + (f", but {reason}: it is run again" if reason else ""))
    if not reason:
        copy.keep(name)
    return run, reason


def named_machine(words: str, identity: str) -> str:
    return f"{words} (machine {identity})"


def _conversion_seconds() -> dict[str, float] | None:
    """Seconds that converting each split took, as the stage has measured them; None where that was another machine.

    Raises:
        FormworkError: their files cannot be read.
    """
    seconds, here = {}, machine_id()
    for split in TRAINING:
        path = Path(f"results/speed/convert_{split}.json")
        try:
            figures = json.loads(path.read_text(encoding="utf-8"))
            seconds[split] = float(figures["seconds"])
            if figures.get("machine_id") != here:
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FormworkError(f"{path} cannot be read. Run `dvc repro -f convert@{split}`.") from error
    return seconds
