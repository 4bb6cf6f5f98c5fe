"""Tool report: one HTML page of the current params, data and results, without references to other files."""

import argparse
from pathlib import Path

from formwork.errors import run
from formwork.params import load_params
from formwork.report.page import report
from formwork.training.data import Folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="HTML file to write")
    page = parser.parse_args().page
    params = load_params()
    folders = Folders(*(Path("data") / kind / params.data.name for kind in ("raw", "interim", "processed")))
    report(params, folders, page)


if __name__ == "__main__":
    run(main)
