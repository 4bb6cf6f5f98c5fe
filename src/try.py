"""Stage try: give the augmentation lists and the model a few images, before DVC takes away any output."""

import argparse
from pathlib import Path

from formwork.errors import run
from formwork.files import write_text
from formwork.params.repository import load_params_of_stages
from formwork.params.undo import undoable
from formwork.startup import large_imports

TRIED = "The augmentation lists and the model have been tried. The other stages wait for this file.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tried", type=Path, help="file that the other stages wait for")
    arguments = parser.parse_args()
    params = load_params_of_stages()
    with large_imports():
        from formwork.loading.augmentation.project import check_augmentation
        from formwork.training.geometry import check_params
    with undoable():
        lines = check_augmentation(params)
        check_params(params)
    for line in lines:
        print(line)
    write_text(arguments.tried, TRIED)


if __name__ == "__main__":
    run(main)
