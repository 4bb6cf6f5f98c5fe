"""What loaders are compared on: images of three kinds, and the betons that hold them."""

import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.link import small_image
from benchmarks.loader_process import Job
from formwork.beton.read import open_beton
from formwork.conversion.write import Summary, write_beton
from formwork.datasets.link import link
from formwork.images.manifest import Manifest, read_manifest
from formwork.params import BetonParams, Params
from formwork.sources import synthetic
from formwork.system import cores

CLASSES = 10
GENERATION = 1  # of the small images; a change of them makes them again where they are kept
SMALLER = BetonParams(write_mode="jpg", max_resolution=256)


@dataclass(frozen=True)
class Kind:
    """Images of one kind, and what is done with them; see Job. count: that are loaded in an epoch."""

    name: str
    count: int
    crop: str
    side: int
    batch_size: int


PHOTO = Kind("photo", 1_200, "RandomResizedCrop", 224, 64)
TINY = Kind("tiny", 50_000, "RandomCrop", 32, 512)
DIGIT = Kind("digit", 50_000, "RandomCrop", 28, 512)


@dataclass(frozen=True)
class Workload:
    """resized: there are files of the beton's resolution, too, for loaders that read files. peers: loaders of other
    projects are measured, too."""

    name: str
    kind: Kind
    beton: BetonParams
    resized: bool = False
    peers: bool = True


WORKLOADS = (
    Workload("photo, jpg 256", PHOTO, SMALLER, resized=True),
    Workload("photo, raw 256", PHOTO, BetonParams(write_mode="raw", max_resolution=256), resized=True),
    Workload("photo, originals", PHOTO, BetonParams(write_mode="jpg", max_resolution=None)),
    Workload("tiny, raw", TINY, BetonParams(write_mode="raw")),
    Workload("digit, raw", DIGIT, BetonParams(write_mode="raw")),
)
RESTARTED = Workload(
    "photo, originals, restart markers",
    PHOTO,
    BetonParams(write_mode="jpg", max_resolution=None, restart_markers="all"),
    peers=False,
)
"""The same images once more, with markers; where these make no difference, WORKLOADS are enough."""


@dataclass(frozen=True)
class Prepared:
    """A workload on disk.

    Attributes:
        folder: has raw/train, raw/val and the manifests.
        resized: folder of the resized images, for those workloads that have them.
        converted: what writing the beton took.
    """

    workload: Workload
    folder: Path
    beton: Path
    resized: Path | None
    converted: Summary

    def job(self, workers: int, resized: bool = False, timesteps: int = 1, views: int = 1) -> Job:
        """resized: read the images of the beton's resolution."""
        kind = self.workload.kind
        files = self.folder / "raw/train"
        if resized:
            assert self.resized is not None, f"{self.workload.name} has no resized images"
            files = self.resized
        return Job(self.folder, files, self.beton, kind.crop, kind.side, kind.batch_size, workers, timesteps, views)


def prepare(workload: Workload, root: Path, count: int) -> Prepared:
    """Make what is not yet in `root`: `count` images, the same each time, with manifests. The beton is always made."""
    kind, workers = workload.kind, cores()
    generation = synthetic.VERSION if kind.name == PHOTO.name else GENERATION
    folder = made_once(root / f"{kind.name}-{generation}-{count}", lambda path: _make(path, kind, count, workers))
    manifest = read_manifest(folder / "train.csv")
    beton = folder / f"{workload.name.replace(', ', '-').replace(' ', '-')}.beton"
    few = read_manifest(folder / "val.csv")
    write_beton(few, folder / "raw", beton, workload.beton, workers)  # what is measured next finds kernels compiled
    converted = write_beton(manifest, folder / "raw", beton, workload.beton, workers)
    resized = None
    if workload.resized:
        resized = made_once(folder / "resized", lambda path: write_resized(manifest, folder / "raw", path, workers))
    return Prepared(workload, folder, beton, resized and resized / "train", converted)


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made by `make` if it is not there; whole, or not at all."""
    if not folder.exists():
        unfinished = folder.with_name(f".{folder.name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def _make(folder: Path, kind: Kind, count: int, workers: int) -> None:
    for seed, (split, images) in enumerate({"train": count, "val": CLASSES}.items()):
        write_images(folder / "raw" / split, kind, images, seed, workers)
    params = Params.model_validate({"data": {"name": kind.name, "num_workers": workers}})
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        link(params, folder / "raw", folder, folder / "findings.csv")


def write_images(folder: Path, kind: Kind, count: int, seed: int, workers: int) -> None:
    """`count` images in `folder`/<class>/: photos of 500 x 375, 32 x 32 PNGs in colour or 28 x 28 PNGs in grey."""
    if kind.name == PHOTO.name:
        synthetic.write_photos(folder, count, CLASSES, seed, workers)
        return
    rng = np.random.default_rng(seed)
    for number in range(count):
        path = folder / f"class{number % CLASSES}" / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = small_image(rng)
        if kind.name == DIGIT.name:
            image = image.convert("L").crop((0, 0, DIGIT.side, DIGIT.side))
        image.save(path)


def write_resized(manifest: Manifest, raw: Path, folder: Path, workers: int) -> None:
    """The JPEGs that a beton of SMALLER holds, as files; those of an ImageFolder that was resized beforehand."""
    path = folder / "resized.beton"
    write_beton(manifest, raw, path, SMALLER, workers)
    beton, data = open_beton(path), np.memmap(path, np.uint8, "r")
    for row, offset, size in zip(manifest.rows, beton.offsets.tolist(), beton.sizes.tolist(), strict=True):
        file = folder / row.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data[offset : offset + size].tobytes())
    path.unlink()
