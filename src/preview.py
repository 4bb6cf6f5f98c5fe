"""Tool preview: draw real batches of both loaders and their difference, images of each class, how many each class has,
and images that look alike, for the dataset and the augmentation of params.yaml."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.files import check_writable
    from formwork.folders import Folders
    from formwork.params import load_params
    from formwork.tools.preview.preview import preview

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="PNG of batches; all others go to a folder beside it")
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="those in classes.png")
    arguments = parser.parse_args()
    params = load_params()
    folders = Folders.of(params.data.name)
    check_writable(arguments.picture)
    print("\n".join(preview(params, folders, arguments.picture, arguments.classes)))


if __name__ == "__main__":
    run(main)
