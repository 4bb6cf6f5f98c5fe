"""Writing betons: images/s against FFCV's own writer, and peak memory against the number of images."""

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.measured_command import run_measured
from benchmarks.page import ROOT, add_page_arguments, publish
from formwork.conversion.write import write_beton
from formwork.datasets.candidates import find_candidates
from formwork.datasets.manifests import write_split
from formwork.datasets.verify import verify
from formwork.images.manifest import Manifest, write_manifest
from formwork.images.row import Row
from formwork.kernels import libjpeg
from formwork.loading.ffcv.thread_counts import thread_counts_kept
from formwork.params import BetonParams
from formwork.sources.synthetic import write_photos
from formwork.text import table
from formwork.tools.measure import alternate
from formwork.yaml import dump_yaml

MODES: dict[str, dict[str, Any]] = {
    "originals, jpg": {"write_mode": "jpg", "max_resolution": None},
    "max_resolution 256, jpg": {"write_mode": "jpg", "max_resolution": 256},
    "max_resolution 256, raw": {"write_mode": "raw", "max_resolution": 256},
}
MEMORY_PARAMS = {"write_mode": "jpg", "max_resolution": 96}
COMMAND = "python benchmarks/run.py convert"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=int, default=1200, help="distinct photos")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, nargs="+", default=[2_000, 200_000], help="images to measure memory with")
    parser.add_argument("--folder", type=Path, help="where to put images and betons; default: a temporary folder")
    add_page_arguments(parser)


def main(a: argparse.Namespace) -> None:
    with contextlib.ExitStack() as stack:
        folder = a.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-convert-")))
        folder = folder.resolve()
        raw = folder / "photos"
        if not raw.is_dir():
            write_photos(raw, images=a.images, classes=10, seed=0, workers=a.workers)
        manifest = _manifest(raw, folder / "photos.csv", a.workers)
        rates = {
            mode: alternate(
                {
                    "formwork": _formwork(manifest, raw, folder / "formwork.beton", params, a.workers),
                    "stock": _stock(manifest, raw, folder / "stock.beton", params, a.workers),
                    "decode": _decode(manifest, raw, a.workers),
                },
                a.rounds,
            )
            for mode, params in MODES.items()
        }
        memory = {count: _peak(manifest, raw, folder, count, a.workers) for count in a.memory}
    speed = table(
        [
            "photo workload",
            "Formwork, images/s",
            "FFCV's DatasetWriter",
            "ratio",
            "spread",
            "reading and decoding alone",
        ],
        [
            [
                mode,
                f"{r['formwork'].median:,.0f}",
                f"{r['stock'].median:,.0f}",
                f"**{r['formwork'].median / r['stock'].median:.1f} x**",
                f"±{max(r['formwork'].spread, r['stock'].spread):.0%}",
                f"{r['decode'].median:,.0f}",
            ]
            for mode, r in rates.items()
        ],
    )
    peaks = table(
        ["images", "peak memory of the stage, MB", "images/s"],
        [[f"{count:,}", f"{peak / 1e6:.0f}", f"{rate:,.0f}"] for count, (peak, rate) in memory.items()],
    )
    publish(
        "convert",
        COMMAND,
        f"{len(manifest):,} photos, {a.workers} workers; Formwork's times include syncing the file to disk. Scaling "
        f"cannot be faster than reading and decoding.\n\n{speed}\n\nPeak memory of all processes is bounded: "
        "what grows with the dataset is its manifest, by less than 1 kB an image (photos scaled to 96 pixels, "
        f"`convert` as a process, its start included):\n\n{peaks}",
        {
            "rates": {m: {name: v.values for name, v in r.items()} for m, r in rates.items()},
            "peak_bytes": {count: peak for count, (peak, _) in memory.items()},
        },
        a.page,
        a.results,
    )


def _manifest(raw: Path, path: Path, workers: int) -> Manifest:
    candidates = find_candidates(raw)
    with tempfile.TemporaryDirectory() as memory:
        verified = verify(raw, candidates.paths, workers, Path(memory) / "verified")
    return write_split(path, candidates, verified, np.flatnonzero(verified.good))


def _formwork(manifest: Manifest, raw: Path, path: Path, params: dict, workers: int) -> Callable[[], int]:
    def run() -> int:
        with _quiet():
            return write_beton(manifest, raw, path, BetonParams(**params), workers).images

    return run


def _decode(manifest: Manifest, raw: Path, workers: int) -> Callable[[], int]:
    """Read each file and decode it with libjpeg-turbo: the least that scaling takes."""

    def decode(row: Row) -> None:
        libjpeg.decode((raw / row.path).read_bytes(), row.width, row.height)

    def run() -> int:
        with ThreadPoolExecutor(workers) as pool:
            return sum(1 for _ in pool.map(decode, manifest.rows))

    return run


class _Photos:
    """The dataset that FFCV's writer is given: as its documentation writes one."""

    def __init__(self, manifest: Manifest, raw: Path):
        self.items = [(raw / row.path, row.label) for row in manifest.rows]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.items[index]
        return Image.open(path).convert("RGB"), label


def _stock(manifest: Manifest, raw: Path, path: Path, params: dict, workers: int) -> Callable[[], int]:
    with thread_counts_kept():  # here, because FFCV takes seconds to import
        from ffcv.fields import IntField, RGBImageField
        from ffcv.writer import DatasetWriter

    def run() -> int:
        image = RGBImageField(**params)
        with _quiet():
            writer = DatasetWriter(str(path), {"image": image, "label": IntField()}, num_workers=workers)
            writer.from_indexed_dataset(_Photos(manifest, raw))
        return len(manifest)

    return run


@contextlib.contextmanager
def _quiet():
    """Suppress progress bars, those of worker processes, too."""
    kept = os.dup(2)
    with open(os.devnull, "w", encoding="utf-8") as null:
        os.dup2(null.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _peak(manifest: Manifest, raw: Path, folder: Path, count: int, workers: int) -> tuple[int, float]:
    """Peak bytes of the convert stage and its images/s, start included, for `count` images: the photos repeated."""
    rows = [
        replace(row, path=f"again/{i // len(manifest):06d}/{row.path}")
        for i, row in zip(range(count), _endless(manifest), strict=False)
    ]
    for repeat in range(-(-count // len(manifest))):
        link = folder / "again" / f"{repeat:06d}"
        link.parent.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(raw.resolve())
    csv = write_manifest(folder / f"{count}.csv", rows).path
    (folder / "params.yaml").write_text(
        dump_yaml(
            {
                "data": {"name": "photos", "num_workers": workers},
                "ffcv": {"beton": MEMORY_PARAMS},
            }
        )
    )
    outputs = [folder / name for name in ("memory.beton", "memory.json", "metrics.json", "speed.json")]
    command = [sys.executable, ROOT / "src/convert.py", folder, csv, *outputs]
    spent, _ = run_measured(command, folder)
    return spent.peak_bytes, count / spent.seconds


def _endless(manifest: Manifest):
    while True:
        yield from manifest.rows
