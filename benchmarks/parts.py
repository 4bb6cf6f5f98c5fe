"""Loading from a thousand parts against one file: images/s, and how long opening takes."""

import argparse
import hashlib
import io
import os
import resource
import shutil
import statistics
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import psutil

from benchmarks.contenders import EpochLoader, formwork_parts
from benchmarks.loader import folder_of, positive
from benchmarks.loader_page import of_workers
from benchmarks.loader_process import Job, Loader, LoaderProcess
from benchmarks.page import add_page_arguments, publish
from benchmarks.scale_images import SIDE, drawn
from benchmarks.workloads import WORKLOADS, made_once, prepare
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.images.manifest import Manifest, read_manifest, write_manifest
from formwork.images.row import Columns, Row
from formwork.params import BetonParams
from formwork.system import cores
from formwork.text import table
from formwork.tools.measure import Rates, alternate, median_ratio

PARTS = 1000
OPENINGS = 5
TARS = 100
CLASSES = 100
COMMENT = b"\xff\xfe\x00\x0a"  # begins one of 8 bytes in a JPEG
DESCRIPTORS = 1024  # that a process may have open, by default, on most machines
ONE, MANY = "one.beton", "parts.beton"


@dataclass(frozen=True)
class Kind:
    """Images of one kind, and what is done with them; see Job.

    Attributes:
        size: width and height of those stored, in pixels.
        share: of --images, how many there are.
        epoch: images after which an epoch is cut.
    """

    name: str
    size: tuple[int, int]
    share: float
    epoch: int
    crop: str
    side: int
    batch_size: int


KINDS = (
    Kind("photo", (256, 192), 0.2, 15_000, "RandomResizedCrop", 224, 64),
    Kind("small", (SIDE, SIDE), 1, 150_000, "RandomCrop", 32, 512),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--images", type=positive, default=1_000_000, help="small ones; a fifth of it photos")
    parser.add_argument("--workers", type=positive, default=cores(), help="of the loader")
    parser.add_argument("--only", metavar="WAY", choices=WAYS, help="one way; nothing is written")
    parser.add_argument("--rounds", type=positive, default=7, help="epochs measured, after one to warm up")
    parser.add_argument("--folder", type=Path, help="keep the betons here for the next run; default: a temporary one")
    add_page_arguments(parser, "scale.md")


# --- Ways to load: the default order, all samples at random, and where memory is short ------------


def quasi_random(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, order="quasi_random")


def random(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, order="random")


def few_descriptors(job: Job) -> Callable[[], Loader]:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return _ffcv(job, order="random")


def uncached(job: Job) -> Callable[[], Loader]:
    return _ffcv(job, order="quasi_random", os_cache=False)


def cold(job: Job) -> Callable[[], Loader]:
    make = _ffcv(job, order="quasi_random")

    def make_cold() -> Loader:
        loader = make()

        def epoch() -> Iterator:
            drop_from_page_cache(job.beton)
            return iter(loader)

        return EpochLoader(epoch)

    return make_cold


WAYS: dict[str, Callable[[Job], Callable[[], Loader]]] = {
    "quasi_random": quasi_random,
    "random": random,
    f"random, {DESCRIPTORS:,} descriptors": few_descriptors,
    "quasi_random, os_cache: false": uncached,
    "quasi_random, from the disk": cold,
}


def _ffcv(job: Job, **changes: object) -> Callable[[], Loader]:
    from formwork.loading.ffcv_loader import FFCVDataLoader

    split, config = formwork_parts(job)
    batches = next(kind.epoch for kind in KINDS if kind.side == job.side) // job.batch_size

    def make() -> Loader:
        loader = FFCVDataLoader(split, replace(config, drop_last=True, **changes))
        epochs = count()

        def epoch() -> Iterator:
            loader.set_epoch(next(epochs))
            return islice(iter(loader), batches)

        return EpochLoader(epoch)

    return make


def drop_from_page_cache(beton: Path) -> None:
    for path in beton.iterdir() if beton.is_dir() else [beton]:
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


# --- Images and betons ----------------------------------------------------------------------------


def make_betons(folder: Path, kind: Kind, images: int, workers: int) -> None:
    """train.csv, and the betons ONE and MANY."""
    (folder / "raw").mkdir(parents=True)
    contents = photos(folder) if kind.name == "photo" else small()
    manifest = write_tars(folder, islice(contents, images), kind)
    part_mb = sum(row.bytes for row in manifest.rows) / PARTS / 1e6
    for name, size in ((ONE, None), (MANY, part_mb)):
        params = BetonParams(write_mode="jpg", max_resolution=None, part_mb=size)
        write_beton(manifest, folder / "raw", folder / name, params, workers)
    shutil.rmtree(folder / "raw")
    os.sync()  # what is not on the disk yet cannot be dropped from the page cache


def small() -> Iterator[bytes]:
    yield from (content for _, content in drawn(count(), np.random.default_rng(0)))


def photos(folder: Path) -> Iterator[bytes]:
    """JPEGs with a comment each, which makes their bytes their own."""
    prepared = prepare(WORKLOADS[0], folder / "photos", WORKLOADS[0].kind.count)
    assert prepared.resized
    bases = [path.read_bytes() for path in sorted(prepared.resized.rglob("*.jpg"))]
    shutil.rmtree(folder / "photos")
    for number in count():
        base = bases[number % len(bases)]
        yield base[:2] + COMMENT + number.to_bytes(8, "big") + base[2:]


def write_tars(folder: Path, contents: Iterable[bytes], kind: Kind) -> Manifest:
    """raw/<tar>/<number>.jpg in TARS tars, and their manifest."""
    rows: list[Row] = []
    with ExitStack() as stack:
        tars = [stack.enter_context(tarfile.open(folder / f"raw/{i:03}.tar", "w")) for i in range(TARS)]
        for number, content in enumerate(contents):
            tar, label = tars[number % TARS], number % CLASSES
            member = tarfile.TarInfo(f"{number:08}.jpg")
            member.size = len(content)
            offset = tar.offset + tarfile.BLOCKSIZE
            tar.addfile(member, io.BytesIO(content))
            path, digest = f"{number % TARS:03}.tar/{member.name}", hashlib.sha256(content).hexdigest()
            rows.append(Row(path, f"{label:03}", label, member.size, *kind.size, "RGB", "JPEG", digest, offset=offset))
    return write_manifest(folder / "train.csv", rows, Columns(offsets=True))


# --- Measuring ------------------------------------------------------------------------------------


def main(a: argparse.Namespace) -> None:
    found: dict[str, dict[str, dict[str, Found]]] = {}
    opened: dict[str, dict[str, float]] = {}
    with folder_of(a.folder) as root:
        for kind in KINDS:
            images = round(a.images * kind.share)
            make = partial(make_betons, kind=kind, images=images, workers=a.workers)
            folder = made_once(root / f"{kind.name}-{images}", make)
            opened[kind.name] = {name: opening(folder, name) for name in (ONE, MANY)}
            found[kind.name] = {
                way: measure(folder, kind, way, a.workers, a.rounds) for way in ([a.only] if a.only else WAYS)
            }
    text = body(found, opened, a.images, a.workers, a.rounds)
    if a.only:
        print(text)
        return
    command = f"python benchmarks/run.py parts --images {a.images} --workers {a.workers} --rounds {a.rounds}"
    results = {
        "opening_cpu_seconds": opened,
        "found": {
            kind: {way: {name: asdict(values) for name, values in by.items()} for way, by in ways.items()}
            for kind, ways in found.items()
        },
    }
    publish("parts", command, text, results, a.page, a.results)


def opening(folder: Path, name: str) -> float:
    """CPU seconds: opening, and finding each image of the manifest."""
    manifest = read_manifest(folder / "train.csv")
    manifest.sha256  # noqa: B018 (read now)
    seconds = []
    for _ in range(OPENINGS):
        start = time.process_time()
        open_beton(folder / name).of_manifest(manifest)
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)


@dataclass(frozen=True)
class Found:
    """Of one beton: images a second, and images a CPU second of the process that loads, which other work of the machine
    changes less."""

    rates: Rates
    cpu: Rates


def measure(folder: Path, kind: Kind, way: str, workers: int, rounds: int) -> dict[str, Found]:
    """By beton, in turn."""
    per_cpu: dict[str, list[float]] = {ONE: [], MANY: []}
    with ExitStack() as stack:
        contenders = {}
        for name in (ONE, MANY):
            job = Job(folder, folder, folder / name, kind.crop, kind.side, kind.batch_size, workers)
            process = stack.enter_context(LoaderProcess(f"{kind.name}, {way}, {name}", WAYS[way], job))
            contenders[name] = partial(_epoch, process, psutil.Process(process.process.pid), per_cpu[name])
        rates = alternate(contenders, rounds)
    return {name: Found(rates[name], Rates(tuple(per_cpu[name][1:]))) for name in (ONE, MANY)}


def _epoch(process: LoaderProcess, watched: psutil.Process, per_cpu: list[float]) -> int:
    before = watched.cpu_times()
    images = process.epoch().images
    after = watched.cpu_times()
    per_cpu.append(images / (after.user + after.system - before.user - before.system))
    return images


def body(
    found: Mapping[str, Mapping[str, Mapping[str, Found]]],
    opened: Mapping[str, Mapping[str, float]],
    images: int,
    workers: int,
    rounds: int,
) -> str:
    counts = {kind.name: f"{kind.name}, {round(images * kind.share):,}" for kind in KINDS}
    rows = [
        [
            counts[kind],
            way,
            str(by[ONE].rates),
            str(by[MANY].rates),
            f"{median_ratio(by[MANY].rates, by[ONE].rates):.2f} x",
            f"**{median_ratio(by[MANY].cpu, by[ONE].cpu):.3f} x**",
        ]
        for kind, ways in found.items()
        for way, by in ways.items()
    ]
    header = ["images", "way", "one file, images/s", "parts, images/s", "ratio", "ratio of images a CPU s"]
    opening_rows = [[counts[kind], f"{by[ONE]:.2f}", f"{by[MANY]:.2f}"] for kind, by in opened.items()]
    return (
        f"JPEGs of {SIDE} pixels and photos of 256, in one file and in about {PARTS:,} parts: FFCVDataLoader, "
        f"{of_workers(workers)}, in turn; medians of {rounds} epochs after one to warm up.\n\n{table(header, rows)}\n\n"
        f"Opening, CPU seconds:\n\n{table(['images', 'one file', 'parts'], opening_rows)}"
    )
