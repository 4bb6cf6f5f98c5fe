"""Tool pack: put a folder of images into tars, the same bytes for the same folder; add to those that are there."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of images, as in docs/datasets.md")
    parser.add_argument("target", type=Path, help="folder for the tars, such as data/raw/photos")
    parser.add_argument("--shard-mb", type=_positive, default=256.0, help="megabytes from which on a new tar is begun")
    arguments = parser.parse_args()

    from formwork.tools.pack import pack

    print(pack(arguments.folder, arguments.target, int(arguments.shard_mb * 1e6)))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("a number above 0")
    return value


if __name__ == "__main__":
    run(main)
