"""What comparing two states of a dataset costs: CPU time, time and peak memory of src/diff.py, on manifests alone.

"a few": 1 % of the images are replaced, 1 % relabelled, 1 % renamed and 1 % removed. "all": no image is in both states,
which takes most memory.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from formwork.errors import FormworkError
from formwork.text import columns

SCRIPT = Path(__file__).resolve().parents[1] / "src/diff.py"
HEADER = "path,class_name,label,bytes,width,height,mode,format,sha256\n"
SPLITS = ("train",) * 8 + ("val", "test")
CLASSES = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=1_000_000, help="in each state")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each; the one with the least CPU time counts")


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder)
        (repository / "params.yaml").write_text("data:\n  name: before\n")
        for state in ("before", "few", "all"):
            write_state(repository / "data/interim" / state, state, arguments.images)
        rows = []
        for state, what in (("few", "a few"), ("all", "all")):
            cpu, wall, peak, totals = min(measure(repository, state) for _ in range(arguments.rounds))
            changed = ", ".join(f"{number:,} {kind}" for kind, number in totals.items() if number)
            rows.append([what, f"{cpu:.1f}", f"{wall:.1f}", f"{peak / 1e6:.0f}", changed])
    print(columns([["changed", "CPU s", "s", "MB", f"of {arguments.images:,} images"], *rows]))


def measure(repository: Path, state: str) -> tuple[float, float, int, dict[str, int]]:
    """CPU seconds, seconds, peak resident bytes and totals of a comparison.

    Raises:
        FormworkError: it failed.
    """
    command = [sys.executable, SCRIPT, "workspace:before", f"workspace:{state}", "--json"]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as output, subprocess.Popen(command, cwd=repository, stdout=output) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - start
        output.seek(0)
        if process.returncode:
            raise FormworkError(f"{SCRIPT} failed with {process.returncode}.")
        found = json.load(output)
    kinds = ("added", "removed", "replaced", "relabelled", "moved", "renamed")
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, {kind: found[kind] for kind in kinds}


def write_state(folder: Path, state: str, images: int) -> None:
    """Write the manifests of a state: "before", or what became of it."""
    folder.mkdir(parents=True)
    splits: dict[str, list[str]] = {split: [] for split in dict.fromkeys(SPLITS)}
    for image, row in _rows(state, images):
        splits[SPLITS[image // 100 % len(SPLITS)]].append(row)
    for split, rows in splits.items():
        (folder / f"{split}.csv").write_text(HEADER + "".join(sorted(rows)))


def _rows(state: str, images: int) -> Iterator[tuple[int, str]]:
    for image in range(images):
        change = image % 100 if state == "few" else None
        label, name = image * 7919 % CLASSES, f"n{image:08d}_{image * 31 % 100_000}"
        if change == 0:
            continue
        content = f"{state if change == 1 or state == 'all' else ''}{image}"
        if change == 2:
            label = (label + 1) % CLASSES
        if change == 3 or state == "all":
            name = f"renamed_{name}"
        digest = hashlib.sha256(content.encode()).hexdigest()
        yield (
            image,
            f"class_{label:04d}/{name}.JPEG,class_{label:04d},{label},{image % 200_000},500,375,RGB,JPEG,{digest}\n",
        )
