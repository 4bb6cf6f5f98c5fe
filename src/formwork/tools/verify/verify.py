"""Verify a commit: run its whole pipeline from nothing in a clean clone, and compare each output with dvc.lock."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.files import check_writable
from formwork.git import check_repository, git, read_files
from formwork.system import machine, machine_id, software
from formwork.text import columns, count
from formwork.tools.experiments.pipeline import Pipeline
from formwork.tools.experiments.place import own_place
from formwork.tools.verify.certificate import NAME, Certificate, Out, identity
from formwork.tools.verify.clone import FROM_CACHE, Clone, check_space
from formwork.tools.verify.contents import describe
from formwork.tools.verify.locks import Contents, other_inputs, outs_of, size_of, stages_at, stages_in

WALL_CLOCK = "results/speed/"
SPEED = "results/speed/metrics.json"
TOOL = "verify"


def verify(results: Path, fetch: bool) -> None:
    """Verify the last commit of the repository whose root is the current folder.

    Args:
        results: folder for the certificate.
        fetch: download again what stages downloaded; else it is taken from DVC's cache.

    Raises:
        FormworkError: there is nothing to compare with, a stage failed, or something differs: see the certificate.
        KeyboardInterrupt: Ctrl-C. Nothing is left.
    """
    root = Path()
    check_repository(root)
    head = git(root, "rev-parse", "HEAD").decode().strip()
    before = stages_at(root, head)
    if not before:
        raise FormworkError("The last commit has no dvc.lock to compare with. Run `dvc repro`, and commit dvc.lock.")
    check_writable(results / f"{NAME}.json")
    _say_what_is_left_out(root)
    pipeline = Pipeline(root)
    with own_place(root.absolute(), TOOL) as (place, lock):
        check_space(place, 2 * size_of(before))  # in the clone, and in its cache
        copy = Clone(root.absolute(), head, place, lock, fetch)
        print("Cloning the commit, without anything that it made ...", flush=True)
        plan = copy.make(pipeline.cache_folder(), before)
        print(f"Raw images: {copy.raw}.")
        print(f"Running {count(len(plan.stages), 'stage')} from nothing; all that they print: {copy.log}", flush=True)
        copy.run(plan)
        after = stages_in(copy.folder)
        run = {stage.rpartition(":")[2] for stage in plan.stages}
        taken = {stage.rpartition(":")[2] for stage in plan.taken}
        with pipeline.opened() as repo:
            outs = list(compare_outs(before, after, run, taken, Contents(root, head, repo), copy.folder))
        order = [stage.rpartition(":")[2] for stage in plan.taken + plan.stages]
        outs.sort(key=lambda out: order.index(out.stage))
        lock_of_others = list(other_inputs(before, {name: entry for name, entry in after.items() if name in run}))
    of = identity(root, head, _dependencies(after))
    certificate = Certificate(head, of, lock_of_others, _here(), _there(root, head), outs)
    certificate.write(results)
    rows = [[printable(out.path), out.verdict, *out.details[:1]] for out in outs]
    print(columns([["output", "beside dvc.lock", ""], *([*row, ""][:3] for row in rows)]))
    print(f"\n{certificate.verdict}\nCertificate: {results / NAME}.md, and .json for `make verify ARGS=--check`.")
    if not certificate.is_reproduced:
        raise FormworkError(f"Commit {head[:7]} was not reproduced: {results / NAME}.md says what differs.")


def compare_outs(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    run: set[str],
    taken: set[str],
    contents: Contents,
    folder: Path,
) -> Iterator[Out]:
    """Each output of the stages that ran, or were taken from the cache, beside what dvc.lock has of it.

    Args:
        before, after: stages as they were committed, and as they are now.
        folder: of the workspace in which they ran.
    """
    old, new = ({(stage, path): md5 for stage, path, md5 in outs_of(side)} for side in (before, after))
    for stage, path in {**old, **new}:
        if stage not in run | taken:
            continue
        a, b = old.get((stage, path)), new.get((stage, path))
        if path.startswith(WALL_CLOCK):
            yield Out(stage, path, "wall-clock")
        elif stage in taken:
            yield Out(stage, path, "same" if a == b else "differs", FROM_CACHE)
        elif a == b:
            yield Out(stage, path, "same")
        else:
            details, figures = _difference(path, a, b, contents, folder)
            yield Out(stage, path, "differs", "made", details, figures)


def _difference(
    path: str, before: str | None, after: str | None, contents: Contents, folder: Path
) -> tuple[list[str], dict[str, Any]]:
    old = contents.files(path, before) if before else {}
    if old is None:
        return ["its listing is not in DVC's cache: `dvc fetch` brings it"], {}
    there = folder / path
    new = (
        {file.relative_to(folder).as_posix() for file in there.rglob("*") if file.is_file()}
        if there.is_dir()
        else {path}
    )
    new = {name for name in new if (folder / name).is_file()}
    details: list[str] = []
    figures: dict[str, Any] = {}
    for name in sorted({*old, *new}):
        a = contents.read(name, old[name]) if name in old else None
        b = (folder / name).read_bytes() if name in new else None
        if a == b:
            continue
        found, numbers = describe(name, a, b)
        whole = name == path
        details += found if whole else [f"{name.removeprefix(f'{path}/')}: {sentence}" for sentence in found]
        figures |= numbers if whole else {name.removeprefix(f"{path}/"): numbers}
    return details, figures


def _say_what_is_left_out(root: Path) -> None:
    changed = git(root, "status", "--porcelain", "--untracked-files=normal").decode(errors="replace").splitlines()
    if changed:
        print(
            f"The last commit is verified, and not the uncommitted changes of {count(len(changed), 'file')}: "
            f"{', '.join(printable(line[3:]) for line in changed[:5])}{', ...' if len(changed) > 5 else ''}"
        )


def _dependencies(stages: Mapping[str, Any]) -> Sequence[str]:
    """Files and folders that stages depend on."""
    return sorted({dep["path"] for entry in stages.values() for dep in entry.get("deps", ())})


def _here() -> dict[str, str]:
    return _by_name(machine(), machine_id(), software())


def _there(root: Path, commit: str) -> dict[str, str]:
    """What the metrics of the committed run say of the machine."""
    content = read_files(root, [f"{commit}:{SPEED}"])[0]
    try:
        figures = json.loads(content or b"")
        return _by_name(figures["machine"], figures["machine_id"], figures.get("software", ()))
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _by_name(words: str, identity: str, packages: Sequence[str]) -> dict[str, str]:
    """By what it is: of a machine, and of packages as formwork.system.software has them, the system first."""
    system, *others = packages or ("not known",)
    named = (str(package).rpartition(" ") for package in others)
    return {"machine": words, "machine id": identity, "system": system, **{name: number for name, _, number in named}}
