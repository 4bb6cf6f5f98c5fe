"""Tool preview: draw real batches of both loaders, for the dataset and the augmentation of params.yaml."""

import argparse
from pathlib import Path

from formwork.errors import run
from formwork.evaluation.preview import preview
from formwork.params import load_params
from formwork.training.data import Folders


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="PNG file to write")
    picture = parser.parse_args().picture
    params = load_params()
    folders = Folders(*(Path("data") / kind / params.data.name for kind in ("raw", "interim", "processed")))
    preview(params, folders, picture)


if __name__ == "__main__":
    run(main)
