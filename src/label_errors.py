"""Tool label_errors: images whose label is likely wrong, by the predictions of models that were not trained on them, as
a page of pictures, and as a CSV from which a table of labels can be corrected."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="revisions or DVC experiments to ask; default: the newest experiment of each fold, or the workspace",
    )
    parser.add_argument("--fetch", action="store_true", help="get predictions that are missing from DVC's remote")
    parser.add_argument("--results", type=Path, default=Path("results/label_errors"), help="folder for page and CSV")
    parser.add_argument(
        "--correct",
        type=Path,
        metavar="TABLE",
        help="write what suspects.csv in that folder suggests into a CSV of labels, which is made if it is not there",
    )
    a = parser.parse_args()

    from formwork.tools.label_errors.label_errors import correct, label_errors

    if a.correct:
        correct(a.correct, a.results)
    else:
        label_errors(a.runs, a.results, a.fetch)


if __name__ == "__main__":
    run(main)
