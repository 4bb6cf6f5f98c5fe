"""Compare settings: run what has not been run yet, take the rest from finished runs, and tables."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from formwork.errors import FormworkError, ParamsError
from formwork.escapes import shell_word
from formwork.files import check_writable, write_text
from formwork.folders import Folders
from formwork.formats import write_json
from formwork.git import check_repository
from formwork.images.manifest import TRAINING
from formwork.params import Params
from formwork.system import machine_id
from formwork.text import count
from formwork.tools.compare import tables
from formwork.tools.compare.cases import Case, of_loaders, read_cases
from formwork.tools.compare.chart import draw
from formwork.tools.compare.paired import compare_answers
from formwork.tools.compare.plans import Installation, RunPlan, make_plans
from formwork.tools.compare.runs import Run, read_run
from formwork.tools.compare.summary import Summary
from formwork.tools.experiments.pipeline import Pipeline, digest
from formwork.tools.experiments.results import in_folder
from formwork.tools.experiments.workspace_copy import Copy, copied


def compare(
    params: Params,
    settings: Sequence[str],
    repeat: int,
    seeds: int,
    results: Path,
    command: str,
    dry_run: bool = False,
    download: bool = False,
) -> None:
    """Compare settings on the dataset of params.yaml, in the repository whose root is the current folder.

    Args:
        params: of the workspace.
        settings: of each case, `key=value` or several, with commas between them; none: the loaders.
        repeat: runs of each case and seed. seeds: how many seeds, that of the params and those after it.
        results: folder for compare.json, compare.md and the picture.
        command: what repeats this, for the page.
        dry_run: only say what would be run.
        download: get predictions that are not in DVC's cache from its remote.

    Raises:
        FormworkError: there can be no experiments here, the settings cannot be compared, the data is not up to date, or
            an experiment failed.
        KeyboardInterrupt: Ctrl-C. Experiments that are finished are kept, and nothing else.
    """
    check_repository(Path())
    cases = read_cases(settings, Path())
    if seeds > 1 and any(case.sets_seed for case in cases):
        raise ParamsError("-S seed=... and --seeds exclude each other: --seeds runs every case with each seed.")
    pipeline, installation = Pipeline(Path()), Installation(params)
    pipeline.check_data(Folders.of(params.data.name).raw)
    conversion = _conversion_seconds() if of_loaders(cases) else None
    plans = make_plans(pipeline, installation, cases, repeat, seeds)
    if settings and any(plan.missing for plan in plans):
        try_cases(cases)
    if dry_run:
        _say_what_is_missing(plans)
        return
    check_writable(results / "compare.md")
    if any(plan.missing for plan in plans):
        _run_what_is_missing(pipeline, plans, installation)
    runs = [run for plan in plans for run in plan.runs]
    reason = installation.ffcv_fault if any(run.fell_back for run in runs) else None
    summary = Summary(params.data.name, cases, installation.machine, runs, conversion, reason)
    differences, unpaired = compare_answers(summary, Path(), download)
    summary = replace(summary, differences=differences, unpaired=unpaired)
    write_json(results / "compare.json", tables.figures(summary, command))
    write_text(results / "compare.md", tables.markdown(summary, command))
    draw(summary, results / tables.PICTURE)
    print(f"\n{tables.text(summary)}\n\nAlso in {results}: compare.md, compare.json and {tables.PICTURE}")


def try_cases(cases: Sequence[Case]) -> None:
    """Refuse now what the stage `try` would refuse, before the first case is trained for hours.

    Raises:
        ParamsError: naming the case.
    """
    from formwork.loading.augmentation.project import check_augmentation
    from formwork.training.geometry import check_params  # torch takes seconds to import

    for case in cases:
        try:
            check_augmentation(case.params)
            check_params(case.params)
        except ParamsError as error:
            raise ParamsError(f"{case.name}: {error}") from error


def _say_what_is_missing(plans: Sequence[RunPlan]) -> None:
    left = [plan for plan in plans if plan.missing]
    print(f"{count(sum(plan.missing for plan in left), 'experiment')} to be run.")
    if left:
        print("They run in a copy of the workspace and its data. Where that is too large, run them in the workspace,")
        print("and then compare: finished runs are found wherever they are.")
    for plan in left:
        settings = " ".join(f"-S {shell_word(setting)}" for setting in plan.case.settings)
        print(f"  dvc exp run {settings}")


def _run_what_is_missing(pipeline: Pipeline, plans: Sequence[RunPlan], installation: Installation) -> None:
    folders = Folders.of(installation.params.data.name)
    print("Making a copy of the workspace and its data, to run experiments in ...", flush=True)
    try:
        with copied(pipeline, folders, "compare") as copy:
            while left := [plan for plan in plans if plan.missing]:
                for plan in left:  # in turn, so that a busy minute of the machine hits all cases
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
    name = copy.new_name(f"{_slug(plan.case.name)}-{digest(plan.wanted)}")
    print(f"{plan.case}: experiment {name}, run {len(plan.runs) + 1} of {plan.needed} ...", flush=True)
    output = copy.run_settings(name, plan.case.settings, list(plan.wanted), force)
    trained = "Running stage 'train'" in output
    run = read_run(in_folder(copy.folder, f"experiment {name}", plan.wanted), plan.case, plan.wanted)
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


def _slug(name: str) -> str:
    """What git takes for a part of a name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].strip("-") or "case"


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
