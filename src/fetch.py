"""Stage fetch@<dataset>: make or download a named dataset."""

import argparse
import time
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.params import load_params
    from formwork.sources.fetch import fetch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("target", type=Path, help="data/raw/<name>")
    arguments = parser.parse_args()
    start = time.monotonic()
    fetch(arguments.name, arguments.target, load_params().sources)
    print(f"Fetched in {time.monotonic() - start:.1f} s: {arguments.target}")


if __name__ == "__main__":
    run(main)
