"""Tool split: write the split of each image into a file for git, which decides from then on."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--force", action="store_true", help="replace the file, if there is one")
    arguments = parser.parse_args()

    from formwork.folders import Folders
    from formwork.params import load_params
    from formwork.tools.freeze import freeze

    name = load_params().data.name
    print(freeze(Folders.of(name), Path("data/splits", f"{name}.csv"), arguments.force))


if __name__ == "__main__":
    run(main)
