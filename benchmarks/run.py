"""Benchmarks, each a module of this folder: `python benchmarks/run.py <benchmark> --help`."""

import argparse
import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:1] = [str(ROOT), str(ROOT / "src")]  # not this folder, whose modules have names like those of src/

from formwork.errors import run  # noqa: E402

BENCHMARKS = {
    "link": "verification: files/s and peak memory against the number of files, and the bare decode rate",
    "manifest": "manifests: reading one, its tree of links after a change, and memory of loader workers",
    "diff": "comparing two states of a dataset: time and peak memory of src/diff.py on manifests of a million images",
    "near_duplicates": "verification: which copies of photos are found, and how many other images are taken for copies",
    "scale": "at size: what each command costs on a million images and more, loose and in tars",
    "containers": "raw data: what DVC and link take for images in tars, over what they take for loose files",
    "cluster": "several machines: what a second worker gains, and what a task costs",
    "convert": "writing betons: images/s against FFCV's own writer, and peak memory",
    "accuracy": "training: accuracy with either loader over several seeds",
    "loader": "loading: images/s of every loader on the same images",
    "scaling": "loading: what each further worker adds, what holds it back, and how far memory is from its limit",
    "reading": "loading: what reading each sample costs over a beton in memory",
    "cold": "loading: what is read of a beton that is not in the page cache, over what the disk can read",
    "parts": "loading: a thousand parts against one file, and how long opening takes",
    "verification": "loading: what comparing samples with their checksums costs",
    "lightning": "training: what Lightning costs over bare loops",
    "gpu": "training on a GPU: images/s with every loader against a batch that stays there, and how long it waits",
    "views": "loading: what a second view of each image costs",
    "timesteps": "loading: time and memory of images repeated in time",
}
"""Each has a module with add_arguments(parser) and main(arguments)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(metavar="benchmark", required=True)
    for name, what in BENCHMARKS.items():
        command = commands.add_parser(name, help=what, description=what)
        if sys.argv[1:2] == [name]:  # the others need not be imported, which takes seconds
            module = importlib.import_module(f"benchmarks.{name}")
            module.add_arguments(command)
            command.set_defaults(main=module.main)
    arguments = parser.parse_args()
    arguments.main(arguments)


if __name__ == "__main__":
    run(main)
