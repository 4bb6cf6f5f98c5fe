"""Tool tune: what ways of storing the dataset of params.yaml cost and bring on this machine, measured on a sample of
it, and the `dvc exp run` line for the best of them."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from formwork.beton.format import MAX_SIDE
from formwork.errors import run
from formwork.params import load_params
from formwork.text import parse_bytes
from formwork.tools.tune.grid import FREE_SHARE, LEAST, MIN_PSNR, QUALITIES, WRITE_MODES, Grid, Request


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("results", type=Path, help="folder for tune.md, tune.json and tune.png")
    add("--images", type=_number(LEAST), help="size of the sample; default: so that it takes a minute or two")
    add("--budget", type=_bytes, help=f"for all betons together, as 20GB; default: {FREE_SHARE:.0%}% of what is free")
    add("--min-psnr", type=_decibels, default=MIN_PSNR, help="dB; inf: nothing but exact; default: %(default)g")
    add("--rounds", type=_number(1), default=5, help="measurements of each speed; default: %(default)s")
    add("--write-mode", nargs="+", choices=WRITE_MODES, default=WRITE_MODES, help="to try; default: all of them")
    add(
        "--max-resolution", nargs="+", type=_side, default=(), metavar="PIXELS",
        help="to try, null for the full size; default: null, and 2, 1.5 and 8/7 times the training resolution",
    )  # fmt: skip
    add(
        "--jpeg-quality", nargs="+", type=_number(1, 100), default=QUALITIES, metavar="QUALITY",
        help="1 to 100, to try; default: 80 90 95",
    )  # fmt: skip
    a = parser.parse_args()
    params = load_params()
    from formwork.folders import Folders  # slow to import: an error need not wait for it
    from formwork.tools.tune.tune import tune

    folders = Folders.of(params.data.name)
    grid = Grid(write_modes=a.write_mode, resolutions=a.max_resolution, qualities=a.jpeg_quality)
    tune(params, folders, a.results, Request(a.images, a.budget, a.min_psnr, a.rounds, grid))


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _number(least: int, most: float = math.inf) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            until = f" to {most}" if most < math.inf else ""
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least}{until or ' on'}")
        return int(text)

    return parse


def _side(text: str) -> int | None:
    return None if text == "null" else _number(1, MAX_SIDE)(text)


def _decibels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return value


if __name__ == "__main__":
    run(main)
