"""Writing one part of a beton: a job of its own, which any process that sees the same folders can do."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

import numpy as np

from formwork.beton import provenance
from formwork.beton.beton import Beton
from formwork.conversion.beton_file import write_samples
from formwork.conversion.earlier import part_name
from formwork.conversion.encode import Stored, encode
from formwork.files import writing
from formwork.images.manifest import Manifest, read_manifest
from formwork.parallel import in_order, threads_of_task
from formwork.params import BetonParams

LOOKAHEAD = 8  # samples encoded in advance, for each worker: evens out slow images
MEMORY = 1 << 28  # bytes that samples in work may take together, as far as each worker has one


@dataclass(frozen=True)
class PartJob:
    """One part that is to be written.

    Attributes:
        folder: that it is written into.
        rows: (M,) int64 of the manifest, in the order in which they are stored.
        copied: (M,) int64, the sample of `earlier` that has the bytes of each; -1: it is encoded.
        earlier: samples of an earlier version; None where nothing is copied.
    """

    manifest: Path
    raw: Path
    folder: Path
    params: BetonParams
    rows: np.ndarray
    copied: np.ndarray
    earlier: Beton | None


class Images:
    """The stored form of images of a manifest: copied where an earlier version has it, or encoded. Threads share it."""

    def __init__(self, manifest: Manifest, raw: Path, params: BetonParams, earlier: Beton | None, copied: np.ndarray):
        """copied: (N,) int64, by row of the manifest; see PartJob."""
        self.rows, self.raw, self.params = manifest.rows, raw, params
        self.earlier, self.copied = earlier, copied

    def stored(self, row: int) -> Stored:
        """Raises BetonError: see formwork.conversion.encode.encode."""
        at = int(self.copied[row])
        kept = self._read(at) if self.earlier is not None and at >= 0 else None
        return encode(self.rows[row], self.raw, self.params) if kept is None else kept

    def size(self, row: int) -> int:
        """Bytes of the stored form."""
        at = int(self.copied[row])
        if self.earlier is not None and at >= 0:
            return int(self.earlier.sizes[at])
        return len(self.stored(row).data)

    def _read(self, sample: int) -> Stored | None:
        """A sample of the earlier version; None where it is damaged, or there no more."""
        beton = self.earlier
        assert beton is not None
        assert beton.passed_through is not None
        try:
            with open(beton.path_of(sample), "rb", buffering=0) as file:
                data = os.pread(file.fileno(), int(beton.sizes[sample]), int(beton.offsets[sample]))
        except OSError:
            return None
        if not beton.is_intact(sample, data):
            return None
        width, height, mode = (int(numbers[sample]) for numbers in (beton.widths, beton.heights, beton.modes))
        checksum = int(beton.stored_checksums[sample])  # type: ignore[index]  # it is intact
        return Stored(mode, width, height, data, checksum, bool(beton.passed_through[sample]))


def memory_needed(manifest: Manifest) -> np.ndarray:
    """(N,) int64, bytes to encode each image, roughly: the file, and its pixels decoded (4 bytes each in Pillow) and
    converted."""
    return manifest.numbers("bytes") + 8 * manifest.pixels


def in_storage_order(
    images: Images, manifest: Manifest, rows: Sequence[int], pool: ThreadPoolExecutor, workers: int
) -> Iterator[tuple[int, Stored]]:
    """The stored form of some rows of a manifest, in the order in which they are given; threads make it."""
    memory = memory_needed(manifest)
    return in_order(
        pool,
        images.stored,
        rows,
        ahead=workers * LOOKAHEAD,
        cost=lambda row: int(memory[row]),
        budget=MEMORY,
        always=workers,
    )


def write_part(manifest: Manifest, job: PartJob, images: Iterator[tuple[int, Stored]]) -> str:
    """Write a part into the folder of a job; its name says what it holds.

    Args:
        images: at least those of the job come next; no more are taken.

    Returns:
        The name.

    Raises:
        FormworkError: it cannot be written, or an image cannot be converted.
    """
    count = len(job.rows)
    keys = np.zeros(count, provenance.KEY)
    keys["sha256"] = manifest.sha256[job.rows]

    def numbered() -> Iterator[tuple[int, Stored]]:
        for sample in range(count):
            _, stored = next(images)
            keys["passed_through"][sample] = stored.passed_through
            yield sample, stored

    def name_of(sample: int) -> str:
        return manifest.paths[int(job.rows[sample])]

    with writing(job.folder):
        path = job.folder / f".{uuid4().hex}"  # two processes may do the same job
        try:
            with path.open("x+b") as file:
                facts = provenance.describe_part(job.params)
                digest = write_samples(file, np.arange(count), facts, numbered(), name_of, keys)
                file.flush()
                os.fsync(file.fileno())
            name = part_name(digest)
            os.replace(path, job.folder / name)
            return name
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def run_job(job: PartJob, workers: int) -> str:
    """Do a job in a process of its own, on threads: those of a worker, or as many as `workers`; see write_part."""
    workers = threads_of_task() or workers
    manifest = _manifest(job.manifest, job.manifest.stat().st_mtime_ns)
    copied = np.full(len(manifest), -1, np.int64)
    copied[job.rows] = job.copied
    images = Images(manifest, job.raw, job.params, job.earlier, copied)
    pool = ThreadPoolExecutor(workers)
    try:
        return write_part(manifest, job, in_storage_order(images, manifest, job.rows.tolist(), pool, workers))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@lru_cache(1)
def _manifest(path: Path, changed: int) -> Manifest:
    """The manifest, read once for many jobs. changed: time of its last change, as in another version's key."""
    return read_manifest(path)
