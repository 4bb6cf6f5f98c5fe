"""Loading: images/s of every loader on the same images, consumed by an empty loop."""

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from formwork.bench.contenders import CONTENDERS
from formwork.bench.measure import Rates, alternate
from formwork.bench.page import publish
from formwork.beton.write import write_beton
from formwork.datasets.link import link
from formwork.datasets.manifest import read_manifest
from formwork.datasets.sources.synthetic import write_photos
from formwork.errors import FormworkError
from formwork.markdown import table
from formwork.params import BetonParams, Params

CLASSES = 10


@dataclass(frozen=True)
class Workload:
    """images: "photo" (500 x 375 JPEG), "tiny" (32 x 32 PNG) or "digit" (28 x 28 grey PNG). side: of the output."""

    name: str
    images: str
    side: int
    beton: BetonParams


WORKLOADS = (
    Workload("photo, jpg 256", "photo", 224, BetonParams(write_mode="jpg", max_resolution=256)),
    Workload("photo, raw 256", "photo", 224, BetonParams(write_mode="raw", max_resolution=256)),
    Workload("photo, originals", "photo", 224, BetonParams(write_mode="jpg", max_resolution=None)),
    Workload("tiny, raw", "tiny", 32, BetonParams(write_mode="raw")),
    Workload("digit, raw", "digit", 28, BetonParams(write_mode="raw")),
)
COUNTS = {"photo": 2000, "tiny": 50000, "digit": 50000}
BATCHES = {"photo": 64, "tiny": 512, "digit": 512}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=2, help="threads or processes of each contender")
    parser.add_argument("--rounds", type=int, default=5, help="epochs measured, after one to warm up")
    parser.add_argument("--quick", action="store_true", help="a fifth of the images; nothing is written")
    parser.add_argument("--only", help="workloads whose names contain this; nothing is written")


def main(arguments: argparse.Namespace) -> None:
    rows, results = [], {}
    with tempfile.TemporaryDirectory(prefix="bench-loader-") as folder:
        for workload in WORKLOADS:
            if arguments.only and arguments.only not in workload.name:
                continue
            rates = _measure(workload, Path(folder), arguments)
            results[workload.name] = {name: rate.values for name, rate in rates.items()}
            rows.append(_row(workload.name, rates))
    body = table(["workload", *CONTENDERS, "over PyTorch", "over stock FFCV", "of libjpeg-turbo"], rows)
    if arguments.quick or arguments.only:
        print(body)
        return
    command = f"python src/bench.py loader --workers {arguments.workers} --rounds {arguments.rounds}"
    text = f"Images/s, median of {arguments.rounds} epochs after one; ratios are those of FFCVDataLoader.\n\n{body}"
    publish("loader", command, text, results, Path("docs/benchmarks.md"), Path("results/bench"))


def _row(name: str, rates: dict[str, Rates]) -> list[str]:
    ours = rates["FFCVDataLoader"].median
    cells = [f"{rates[c].median:,.0f} ± {rates[c].spread:.0%}" if c in rates else "" for c in CONTENDERS]
    bare = f"{ours / rates['libjpeg-turbo'].median:.2f}" if "libjpeg-turbo" in rates else ""
    ratios = [f"{ours / rates[other].median:.1f} x" for other in ("PyTorch DataLoader", "stock FFCV")]
    return [name, *cells, *ratios, bare]


def _measure(workload: Workload, root: Path, arguments: argparse.Namespace) -> dict[str, Rates]:
    folder = root / workload.images
    count = COUNTS[workload.images] // (5 if arguments.quick else 1)
    if not folder.exists():
        write_images(folder / "raw/train", workload.images, count)
        write_images(folder / "raw/val", workload.images, CLASSES)
        params = Params.model_validate({"data": {"name": workload.images}})
        link(params, folder / "raw", folder, folder / "bad.csv")
    beton = folder / "train.beton"
    write_beton(read_manifest(folder / "train.csv"), folder / "raw", beton, workload.beton, arguments.workers)
    names = [name for name in CONTENDERS if name != "libjpeg-turbo" or workload.beton.write_mode == "jpg"]
    with ExitStack() as stack:
        batch = BATCHES[workload.images]
        work = {
            name: stack.enter_context(Contender(name, folder, beton, workload.side, batch, arguments.workers)).epoch
            for name in names
        }
        return alternate(work, arguments.rounds)


class Contender:
    """A process of formwork.bench.contenders, which loads an epoch at a time.

    Raises:
        FormworkError: the process ended.
    """

    def __init__(self, *arguments: object):
        self.name = str(arguments[0])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "formwork.bench.contenders", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def __enter__(self) -> "Contender":
        self._answer()
        return self

    def __exit__(self, *error: object) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def epoch(self) -> int:
        """The number of images loaded."""
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise FormworkError(f"The process of {self.name} ended; what it said stands above.")
        return line


def write_images(folder: Path, kind: str, count: int) -> None:
    """`count` images of a workload in `folder`/<class>/; the same each time."""
    if kind == "photo":
        write_photos(folder, count, CLASSES, 0, len(os.sched_getaffinity(0)))
        return
    rng = np.random.default_rng(0)
    shape = (32, 32, 3) if kind == "tiny" else (28, 28)
    for number in range(count):
        path = folder / f"c{number % CLASSES}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
