"""Tool compare: train with each of several settings, or with both loaders, as experiments, and show them side by side.
Finished runs with the params, data and code of the workspace are reused. Nothing in the workspace is changed but the
results of this tool."""

import argparse
import shlex
import sys
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.params import load_params
    from formwork.tools.compare.compare import compare

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "-S",
        "--set-param",
        action="append",
        default=[],
        metavar="KEY=VALUE[,KEY=VALUE...]",
        help="a case: settings as `dvc exp run -S` takes them. Once: compared with params.yaml as it is; more often: "
        "with each other; not at all: the two loaders",
    )
    more = parser.add_mutually_exclusive_group()
    more.add_argument(
        "--repeat", type=_count, default=1, metavar="N", help="runs of each case, to show the spread of the seconds"
    )
    more.add_argument("--seeds", type=_count, default=1, metavar="N", help="seeds to run with: seed and those after it")
    parser.add_argument("--dry-run", action="store_true", help="only say what is reused and what would be run")
    parser.add_argument("--fetch", action="store_true", help="get predictions that are missing from DVC's remote")
    parser.add_argument("--results", type=Path, default=Path("results/compare"), help="folder for table and picture")
    a = parser.parse_args()
    command = shlex.join(["python", "src/compare.py", *sys.argv[1:]])
    compare(load_params(), a.set_param, a.repeat, a.seeds, a.results, command, a.dry_run, a.fetch)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    run(main)
