"""Tool repack: write betons that are in parts as from nothing, without what no image needs any more."""

import sys
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.folders import Folders
    from formwork.params import load_params
    from formwork.tools.repack import repack

    sys.exit(repack(Path(), Folders.of(load_params().data.name)))


if __name__ == "__main__":
    run(main)
