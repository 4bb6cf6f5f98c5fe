"""Verification: the link stage as users run it on many small images, and its rate over that of decoding alone."""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measured_command import POLL_SECONDS, run_measured
from benchmarks.page import ROOT, add_page_arguments, publish
from formwork.datasets.candidates import find_candidates
from formwork.datasets.verify import CHUNK_BYTES, CHUNK_FILES, verify
from formwork.sources.synthetic import write_photos
from formwork.system import cores
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

CLASSES = 100
PHOTOS = 1200
OLD_NS = 10**18  # when the files were made, to their readers: those made just now would not be remembered


@dataclass(frozen=True)
class Run:
    """One run of src/link.py.

    Attributes:
        cpu_seconds: of all its processes.
        peak_bytes: of the memory of all its processes together; see PeakMemory.
    """

    files: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    @property
    def rate(self) -> float:
        return self.files / self.seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=int, nargs=2, default=[20_000, 200_000], metavar=("FEW", "MANY"))
    parser.add_argument("--photos", type=Path, help="folder <class>/*.jpg; made where it is not given")
    parser.add_argument("--rounds", type=int, default=5, help="of verification against decoding alone")
    parser.add_argument("--workers", type=int, default=2)
    add_page_arguments(parser)


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, workers = Path(name), arguments.workers
        runs = {files: _runs(folder / str(files), files, workers) for files in arguments.files}
        photos = arguments.photos or make_photos(folder / "photos", PHOTOS)
        few = folder / str(arguments.files[0]) / "data/raw/small"
        rates = {
            "32 x 32 PNG": against_decoding(few, folder / "small.sqlite3", workers, arguments.rounds),
            "500 x 375 JPEG": against_decoding(photos, folder / "photos.sqlite3", workers, arguments.rounds),
        }
    results = {
        "runs": {
            files: {name: asdict(run) | {"files_per_second": run.rate} for name, run in by_name.items()}
            for files, by_name in runs.items()
        },
        "slope": {name: slope([by_name[name] for by_name in runs.values()]) for name in ("first", "again")},
        "images_per_second": {
            kind: {name: rate.values for name, rate in contenders.items()} for kind, contenders in rates.items()
        },
    }
    command = "python benchmarks/run.py link"
    publish("link", command, _body(runs, rates, workers), results, arguments.page, arguments.results)


def _body(runs: dict[int, dict[str, Run]], rates: dict[str, dict[str, Rates]], workers: int) -> str:
    stages = table(
        ["files", "run", "seconds", "files/s", "peak memory"],
        [
            [f"{files:,}", name, f"{run.seconds:.1f}", f"{run.rate:,.0f}", f"{run.peak_bytes / 1e6:,.0f} MB"]
            for files, by_name in runs.items()
            for name, run in by_name.items()
        ],
    )
    slopes = {name: slope([by_name[name] for by_name in runs.values()]) for name in ("first", "again")}
    growth = "; ".join(
        f"{name}: {s['seconds'] * 1e6:.0f} µs and {s['bytes']:,.0f} bytes a file" for name, s in slopes.items()
    )
    parallel = table(
        ["images", "verified, images/s", "decoded only, images/s", "verified over decoded"],
        [
            [
                kind,
                *(f"{by[name].median:,.0f}" for name in ("verified", "decoded")),
                f"{median_ratio(by['verified'], by['decoded']):.2f}",
            ]
            for kind, by in rates.items()
        ],
    )
    again = f"For each million files, a second run takes {slopes['again']['cpu_seconds'] * 1e6:.1f} CPU s."
    return (
        f"`src/link.py` with {workers} workers on 32 x 32 PNGs, no two alike: a first run, and a second one that finds "
        "nothing changed. Memory is the sum of the proportional set sizes of all processes of the stage, read from "
        f"/proc every {POLL_SECONDS} s; files/s include starting Python and writing the manifests and the tree.\n\n"
        f"{stages}\n\nFrom the smaller to the larger number of files, {growth}. {again}\n\n"
        f"Verification against {workers} processes that open each file and decode it to RGB with Pillow and do nothing "
        f"else. The ratio is the median of the ratios of each round, start of the processes included.\n\n{parallel}"
    )


def slope(runs: Sequence[Run]) -> dict[str, float]:
    """Seconds, CPU seconds and bytes of memory that one more file costs, between the first and the last run."""
    few, many = runs[0], runs[-1]
    files = many.files - few.files
    return {
        "seconds": (many.seconds - few.seconds) / files,
        "cpu_seconds": (many.cpu_seconds - few.cpu_seconds) / files,
        "bytes": (many.peak_bytes - few.peak_bytes) / files,
    }


# --- The stage ----------------------------------------------------------------------------------


def _runs(repository: Path, files: int, workers: int) -> dict[str, Run]:
    raw = make_small(repository / "data/raw/small", files)
    params = {"data": {"name": "small", "fetch": [], "num_workers": workers}}
    (repository / "params.yaml").write_text(json.dumps(params))  # JSON is YAML
    return {name: run_stage(repository, raw, files) for name in ("first", "again")}


def run_stage(repository: Path, raw: Path, files: int) -> Run:
    """Run src/link.py there, as DVC does."""
    outputs = ["data/interim/small", "data/processed/small", "findings.csv", "data/splits/small.csv"]
    command = [sys.executable, ROOT / "src/link.py", raw.relative_to(repository), *outputs]
    spent, _ = run_measured(command, repository)
    return Run(files, spent.seconds, spent.cpu_seconds, spent.peak_bytes)


# --- Decoding alone -----------------------------------------------------------------------------


def against_decoding(raw: Path, memory: Path, workers: int, rounds: int) -> dict[str, Rates]:
    """Images/s of verification with an empty memory, and of decoding alone, on all images below `raw`."""
    candidates = find_candidates(raw)
    paths = [f"{raw}/{path}" for path in candidates.paths]
    size = sum(map(os.path.getsize, paths)) / len(paths)
    chunk = min(CHUNK_FILES, max(int(CHUNK_BYTES / size), 1))  # as verification does it

    def verified() -> int:
        memory.unlink(missing_ok=True)
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):  # its progress bar
            return int(verify(raw, candidates.paths, workers, memory).good.sum())

    def decoded() -> int:
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            return sum(pool.map(_decode_all, [paths[i : i + chunk] for i in range(0, len(paths), chunk)]))

    return alternate({"verified": verified, "decoded": decoded}, rounds)


def _decode_all(paths: Sequence[str]) -> int:
    for path in paths:
        with Image.open(path) as image:
            image.convert("RGB")
    return len(paths)


# --- Images -------------------------------------------------------------------------------------


def make_small(raw: Path, files: int) -> Path:
    """32 x 32 PNGs of some 2.5 kB, no two alike, in CLASSES class folders."""
    rng = np.random.default_rng(0)
    for number in range(files):
        path = raw / f"class {number % CLASSES:03d}" / f"{number:06d}.png"
        if number < CLASSES:
            path.parent.mkdir(parents=True)
        path.write_bytes(_encoded(small_image(rng), "PNG", compress_level=1))
        os.utime(path, ns=(OLD_NS, OLD_NS))
    return raw


def small_image(rng: np.random.Generator) -> Image.Image:
    blocks = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
    return Image.fromarray((np.asarray(blocks) + rng.integers(-8, 9, (32, 32, 3))).clip(0, 255).astype(np.uint8))


def make_photos(raw: Path, files: int) -> Path:
    """The photo workload."""
    write_photos(raw, files, classes=10, seed=0, workers=cores())
    for path in raw.glob("*/*"):
        os.utime(path, ns=(OLD_NS, OLD_NS))
    return raw


def _encoded(image: Image.Image, format: str, **options: object) -> bytes:  # noqa: A002
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()
