"""Stage check: refuse params that cannot be used, and raw files that DVC stops at, before any other stage runs."""

import argparse
from pathlib import Path

from formwork.errors import DatasetError, run
from formwork.files import write_text
from formwork.folders import Folders
from formwork.obstacles import describe, find_obstacles
from formwork.params.repository import load_params_of_stages

CHECKED = "params.yaml has been checked. The other stages wait for this file, which is always the same.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checked", type=Path, help="file that the other stages wait for")
    arguments = parser.parse_args()
    raw = Folders.of(load_params_of_stages().data.name).raw
    if stopping := describe(find_obstacles(raw), raw):
        raise DatasetError(stopping)
    write_text(arguments.checked, CHECKED)


if __name__ == "__main__":
    run(main)
