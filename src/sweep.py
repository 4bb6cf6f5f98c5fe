"""Tool sweep: search the best values of some params with Optuna, as sweep.yaml says. Each trial is a DVC experiment in
a copy of the workspace. An interrupted sweep goes on where it was."""

import argparse
from pathlib import Path

from formwork.errors import FormworkError, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=Path("sweep.yaml"), help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("results/sweep"), help="folder; default: %(default)s")
    a = parser.parse_args()
    try:
        import optuna  # noqa: F401  (slow to import, and an extra)
    except ImportError as error:
        raise FormworkError("Optuna is not installed: run `make setup`, or pip install 'formwork[sweep]'.") from error
    from formwork.tools.sweep.sweep import sweep

    sweep(a.file, a.results)


if __name__ == "__main__":
    run(main)
