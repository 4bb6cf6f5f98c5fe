"""At size: what each command costs on many small images, loose and in tars, from `dvc add` to the first batch."""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.measured_command import Spent, run_measured
from benchmarks.page import ROOT, add_page_arguments, publish
from benchmarks.scale_images import CLASSES, make_images, replace_images
from formwork.params import Params
from formwork.text import table
from formwork.yaml import dump_yaml, read_yaml

NAME = "small"
FILES = ("dvc.yaml", "data/dvc.yaml", ".dvcignore", ".gitignore", ".gitattributes", ".dvc/.gitignore")
SPLITS = {"val": 0.01, "test": 0}
MILLION = 1e6
DVC_CONFIG = """
[core]
    analytics = false
    check_update = false
    remote = folder
['remote "folder"']
    url = ../../remote
"""

# In place of src/train.py and src/evaluate.py, whose time says nothing of the number of images: the outputs of the
# stage, empty. `dvc repro` looks at all that the stages depend on.
STAND_IN = """
import sys
from pathlib import Path

for name in {outputs!r}:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{{}}")
"""
LOAD = """
import json, time
from formwork import open_loader
from formwork.loading.ffcv_loader import FFCVDataLoader  # torch and the kernels: the same for any number of images

start = time.perf_counter()
loader = open_loader("train")
opened = time.perf_counter() - start
batches = iter(loader)
images, labels = next(batches)
first = time.perf_counter() - start
count = len(labels) + sum(len(labels) for _, labels in batches)
seconds = time.perf_counter() - start - first
print(json.dumps(dict(opened=opened, first=first, epoch_rate=count / seconds, loader=loader.name)))
"""


@dataclass(frozen=True)
class Step:
    """What a command cost; `more`: what it printed as JSON."""

    name: str
    spent: Spent
    more: dict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, nargs="+", default=[40_000, 160_000], help="numbers, from few to many")
    parser.add_argument("--layout", choices=("tars", "loose"), default="tars", help="a tar a class, or files")
    parser.add_argument("--part-mb", type=float, default=16, help="of the betons in parts")
    parser.add_argument("--no-push", action="store_true", help="leave the remote out, which takes as much disk again")
    parser.add_argument("--folder", type=Path, help="where to work, with room; default: a temporary folder")
    add_page_arguments(parser, "scale.md")


def main(a: argparse.Namespace) -> None:
    measured: dict[int, list[Step]] = {}
    for images in a.images:
        with tempfile.TemporaryDirectory(prefix="bench-scale-", dir=a.folder) as folder:
            measured[images] = []
            for step in steps(Path(folder), images, a.layout == "tars", a.part_mb, not a.no_push):
                print(f"{images:,} {a.layout}: {step.name}: {step.spent} {step.more or ''}", file=sys.stderr)
                measured[images].append(step)
    options = f"--images {' '.join(map(str, a.images))} --layout {a.layout} --part-mb {a.part_mb:g}"
    command = f"python benchmarks/run.py scale {options}{' --no-push' if a.no_push else ''}"
    results = {"steps": {count: [asdict(step) for step in found] for count, found in measured.items()}}
    publish(f"scale-{a.layout}", command, body(measured), results, a.page, a.results)


def steps(folder: Path, images: int, tars: bool, part_mb: float, push: bool) -> Iterator[Step]:
    """Run the commands one after the other, each in a process of its own."""
    repository = folder / "repository"
    raw = repository / "data/raw" / NAME
    environment = make_repository(repository)
    make_images(raw, images, tars)

    def run(name: str, command: str) -> Step:
        words = shlex.split(command)
        program = [sys.executable, "-m", "dvc"] if words[0] == "dvc" else [sys.executable]
        spent, output = run_measured([*program, *words[1:]], repository, environment)
        return Step(name, spent, json.loads(output) if "load.py" in command else {})

    def convert(beton: str) -> str:
        manifest, outputs = f"data/interim/{NAME}/train.csv", "meaning.json metrics.json speed.json"
        return f"python src/convert.py data/raw/{NAME} {manifest} {folder}/{beton} {outputs}"

    link = f"python src/link.py data/raw/{NAME} data/interim/{NAME} data/processed/{NAME} findings.csv splits.csv"
    yield run("`dvc add`", f"dvc add data/raw/{NAME}")
    yield run("`dvc add` again, nothing changed", f"dvc add data/raw/{NAME}")
    yield run("`link`, the first time", link)
    yield run("`link` again, nothing changed", link)
    yield run("`convert` into one file", convert("one.beton"))
    set_params(repository, part_mb)
    yield run(f"`convert` into parts of {part_mb:g} MB", convert("parts.beton"))
    for beton in ("one.beton", "parts.beton"):
        shutil.rmtree(folder / beton) if (folder / beton).is_dir() else (folder / beton).unlink()
    yield run("`dvc repro`, all stages, `link` as above", "dvc repro")
    commit(repository, environment)
    yield run("`dvc repro`, nothing changed", "dvc repro")
    yield run("`dvc status`", "dvc status")
    if push:
        yield run("`dvc push` to a folder", "dvc push")
        yield run("`dvc push` again", "dvc push")
    (repository / "load.py").write_text(LOAD)
    yield run("opening the loader, first batch, an epoch", "python load.py")

    replace_images(raw, images, tars)
    changed = "each hundredth image replaced" if not tars else "each hundredth tar replaced"
    yield run(f"{changed}: `dvc add`", f"dvc add data/raw/{NAME}")
    yield run("... `dvc repro convert`", "dvc repro convert")
    if push:
        yield run("... `dvc push`", "dvc push")
    yield run("... opening the loader, first batch, an epoch", "python load.py")
    shutil.rmtree(repository)


def make_repository(repository: Path) -> dict[str, str]:
    """A repository as users have it, but for the stages train and evaluate; gives the environment of its commands."""
    shutil.copytree(ROOT / "src", repository / "src", ignore=shutil.ignore_patterns("__pycache__", "own"))
    for name in FILES:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, repository / name)
    (repository / "data/splits").mkdir()
    (repository / "data/splits/README.md").touch()
    set_params(repository, None)
    (repository / "src/own").mkdir()
    (repository / "src/own/__init__.py").touch()
    for stage in ("train", "evaluate"):
        (repository / f"src/{stage}.py").write_text(STAND_IN.format(outputs=outputs_of(stage)))
    environment = isolated(repository.with_name("home"))
    (repository / ".dvc/config").write_text(DVC_CONFIG)
    subprocess.run(["git", "init", "--quiet"], cwd=repository, env=environment, check=True)
    commit(repository, environment)
    return environment


def outputs_of(stage: str) -> list[str]:
    """The files that a stage of dvc.yaml has to make; one in each of its folders."""
    entry = read_yaml(ROOT / "dvc.yaml")["stages"][stage]
    listed = [out for kind in ("outs", "metrics", "plots") for out in entry.get(kind, ())]
    names = [next(iter(out)) if isinstance(out, dict) else out for out in listed]
    return [name if Path(name).suffix else f"{name}/curve.tsv" for name in names]


def isolated(home: Path) -> dict[str, str]:
    """Variables with which git and DVC see nothing of this user, and leave nothing behind."""
    home.mkdir()
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "DVC_", "PYTHON"))}
    kernels = (
        os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    )
    return mine | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "src",
        "HOME": str(home),
        "NUMBA_CACHE_DIR": str(kernels),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "benchmark@localhost" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        **{f"DVC_{kind}_DIR": str(home / kind) for kind in ("SITE_CACHE", "GLOBAL_CONFIG", "SYSTEM_CONFIG")},
    }


def set_params(repository: Path, part_mb: float | None) -> None:
    params = {
        "data": {"name": NAME, "fetch": [], "num_workers": 2, "split": SPLITS},
        "ffcv": {"beton": {"part_mb": part_mb}},
        "datasets": {NAME: {"resolution": 32}},
    }
    every_key = Params.model_validate(params).model_dump(mode="json")
    (repository / "params.yaml").write_text(dump_yaml(every_key))


def commit(repository: Path, environment: dict[str, str]) -> None:
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "As it is"]):
        subprocess.run(["git", *command], cwd=repository, env=environment, check=True)


def body(measured: Mapping[int, list[Step]]) -> str:
    *fewer, most = sorted(measured)
    header = ["command", "seconds", "CPU s", "peak memory, MB", "read, MB", "written, MB"]
    rows = [
        [
            step.name,
            f"{step.spent.seconds:,.1f}",
            f"{step.spent.cpu_seconds:,.1f}",
            f"{step.spent.peak_bytes / 1e6:,.0f}",
            f"{step.spent.read_bytes / 1e6:,.0f}",
            f"{step.spent.written_bytes / 1e6:,.0f}",
        ]
        for step in measured[most]
    ]
    if fewer:
        header += ["CPU s a million more", "memory a million more, MB"]
        for row, few, many in zip(rows, measured[fewer[0]], measured[most], strict=True):
            millions = (most - fewer[0]) / MILLION
            row.append(f"{(many.spent.cpu_seconds - few.spent.cpu_seconds) / millions:,.0f}")
            row.append(f"{(many.spent.peak_bytes - few.spent.peak_bytes) / 1e6 / millions:,.0f}")
    loads = [step.more for step in measured[most] if step.more]
    opened = " and ".join(
        f"{load['opened']:.1f} s to open, {load['first']:.1f} s to the first batch, {load['epoch_rate']:,.0f} images/s"
        for load in loads
    )
    return (
        f"{most:,} images in {CLASSES:,} classes. Read: from the disk, not from the page cache. `train` and `evaluate` "
        f"write empty files. The loader, {loads[0]['loader']}, before and after the change: {opened}.\n\n"
        f"{table(header, rows)}"
    ) + (f"\n\nThe last two columns: from {fewer[0]:,} images on." if fewer else "")
