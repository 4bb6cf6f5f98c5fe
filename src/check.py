"""Stage check: refuse params that cannot be used, and raw files that DVC stops at, before any other stage runs."""

import argparse
import os
from contextlib import suppress
from pathlib import Path

from formwork.errors import DatasetError, ParamsError, run
from formwork.files import write_text
from formwork.folders import Folders
from formwork.obstacles import describe, find_obstacles
from formwork.params import load_params
from formwork.params.dataset import check_dataset
from formwork.params.read import NAME
from formwork.params.undo import with_undo

CHECKED = "params.yaml has been checked. The other stages wait for this file, which is always the same.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checked", type=Path, help="file that the other stages wait for")
    arguments = parser.parse_args()
    _let_git_see()
    params = load_params()
    try:
        check_dataset(params)
    except ParamsError as error:
        raise with_undo(error, Path(NAME)) from error
    raw = Folders.of(params.data.name).raw
    if stopping := describe(find_obstacles(raw), raw):
        raise DatasetError(stopping)
    write_text(arguments.checked, CHECKED)


def _let_git_see() -> None:
    """Move the time of params.yaml on by a second.

    `dvc exp run -S` writes it twice, as committed and then with the new value, often in one second, and with as many
    bytes: git, which looks at these two, would take it for unchanged, and `git checkout` would leave the mistake.
    """
    with suppress(OSError):  # where it is not ours, or not there, as load_params says
        found = os.stat(NAME)
        os.utime(NAME, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000_000))


if __name__ == "__main__":
    run(main)
