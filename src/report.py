"""Tool report: one HTML page of the current params, data and results, without references to other files."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.files import check_writable
    from formwork.folders import Folders
    from formwork.params import load_params
    from formwork.tools.report.sections import report

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path, help="HTML file to write")
    page = parser.parse_args().page
    params = load_params()
    folders = Folders.of(params.data.name)
    check_writable(page)
    report(params, folders, page)


if __name__ == "__main__":
    run(main)
