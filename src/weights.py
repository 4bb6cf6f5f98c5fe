"""Stage weights: get the weights that training starts from, and write them to a file that DVC keeps."""

import argparse
from pathlib import Path

from formwork.errors import run


def main() -> None:
    from formwork.files import check_writable
    from formwork.params import load_params
    from formwork.weights.make import make_initial

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the user's weight files")
    parser.add_argument("initial", type=Path, help="file for the initial weights")
    a = parser.parse_args()
    params = load_params()
    check_writable(a.initial)
    if made := make_initial(params.model, a.folder, a.initial):
        print(made)


if __name__ == "__main__":
    run(main)
