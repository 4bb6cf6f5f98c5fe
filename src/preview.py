"""Tool preview: draw real batches of both loaders and their difference, images of each class, and how many each class
has, for the dataset and the augmentation of params.yaml."""

import argparse
from pathlib import Path

from formwork.errors import run
from formwork.evaluation.preview import preview
from formwork.params import load_params
from formwork.training.data import Folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "picture", type=Path, help="PNG of batches; classes.png and counts.png go to a folder beside it"
    )
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="those in classes.png")
    arguments = parser.parse_args()
    params = load_params()
    folders = Folders(*(Path("data") / kind / params.data.name for kind in ("raw", "interim", "processed")))
    preview(params, folders, arguments.picture, arguments.classes)


if __name__ == "__main__":
    run(main)
