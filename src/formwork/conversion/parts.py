"""Writing a beton as a folder of parts, most of which an earlier version may have already."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from formwork.beton import provenance
from formwork.beton.beton import Beton, BetonFile
from formwork.beton.read import open_beton
from formwork.code import STAGES, code_digest
from formwork.conversion.earlier import MADE_BY, find_earlier, part_name
from formwork.conversion.encode import Stored
from formwork.conversion.part import Images, PartJob, in_storage_order, run_job, write_part
from formwork.conversion.plan import cut, kept_files
from formwork.conversion.sizes import estimated_sizes
from formwork.conversion.spool import reordered
from formwork.conversion.summary import Summary, of_parts
from formwork.errors import BetonError
from formwork.escapes import printable
from formwork.files import atomic_folder
from formwork.formats import write_json
from formwork.images.containers import reads_in_groups
from formwork.images.manifest import Manifest, digest_starts
from formwork.parallel import TaskKilled, in_order
from formwork.params import BetonParams
from formwork.progress import progress
from formwork.text import count

MB = 1e6
NAMED = 5  # images of a part, in a message


def write_parts(
    manifest: Manifest,
    raw: Path,
    path: Path,
    params: BetonParams,
    workers: int,
    repack: bool = False,
    cluster: Executor | None = None,
) -> Summary | None:
    """Write the images of a manifest into a folder of parts of about params.part_mb.

    The bytes of an image that an earlier version has, in a part that must be written anew, are copied. From nothing,
    and when it is repacked, the folder is a pure function of the manifest and params; else its parts are those of its
    history, and what can be read from it is the same.

    Args:
        path: of the folder, which appears when all of it is there; an earlier one is replaced.
        workers: threads that encode.
        repack: share nothing with an earlier version but bytes of images.
        cluster: where parts are written; in this process by default.

    Returns:
        None where all of it is smaller than a part: nothing was written then.

    Raises:
        BetonError: an image is missing, changed, unreadable or too large.
        FormworkError: `path` cannot be written.
    """
    start = time.perf_counter()
    assert params.part_mb is not None
    code = code_digest(STAGES["convert"])
    before = find_earlier(path, manifest, params, code)
    images = _images(manifest, raw, params, before.samples)
    plan = make_plan(manifest, images, before.newest, params.part_mb * MB, repack or before.part_mb != params.part_mb)
    if plan.bytes <= params.part_mb * MB:
        return None
    with atomic_folder(path) as folder:
        jobs = [_job(manifest, images, folder.absolute(), rows) for rows in plan.written]
        if cluster is None:
            _write_here(manifest, images, jobs, path, workers)
        else:
            _write_on(cluster, manifest, images, jobs, path, workers)
        for left in folder.glob(".*"):  # by a process that was killed
            left.unlink()
        for name in plan.kept:
            before.place(name, folder / name)
        write_json(folder / MADE_BY, {"code": code, "part_mb": params.part_mb})
    return of_parts(open_beton(path), manifest, time.perf_counter() - start, len(jobs))


@dataclass(frozen=True)
class Plan:
    """How the images of a manifest are to be stored.

    Attributes:
        kept: names of parts of earlier versions that stay as they are.
        written: for each part that is to be written, rows of the manifest in storage order. Rows with equal content
            are stored once.
        bytes: of all that is needed, roughly.
    """

    kept: list[str]
    written: list[np.ndarray]
    bytes: float


def make_plan(manifest: Manifest, images: Images, newest: int, part_bytes: float, repack: bool) -> Plan:
    """Decide which parts stay, and what those hold that are written.

    Args:
        newest: how many files of images.earlier, the first, are of the newest version.
        repack: none stays.
    """
    rows = _of_different_content(manifest)
    kept: list[str] = []
    kept_bytes = 0.0
    if images.earlier is not None and not repack:
        earlier, at = images.earlier, images.copied[rows]
        live = np.zeros(len(earlier), bool)
        live[at[at >= 0]] = True
        stays = kept_files(earlier, newest, live, bool((at < 0).any()), part_bytes)
        kept = [_name(file) for file, keep in zip(earlier.files, stays, strict=True) if keep]
        kept_bytes = float((earlier.sizes + provenance.TABLES)[live & stays[earlier.file]].sum())
        rows = rows[(at < 0) | ~stays[earlier.file[at]]]
    sizes = estimated_sizes(manifest, rows, images.params, images.size) + provenance.TABLES
    return Plan(kept, [rows[part] for part in cut(sizes, part_bytes)], kept_bytes + float(sizes.sum()))


def _name(file: BetonFile) -> str:
    assert file.provenance is not None
    return part_name(file.provenance.digest)


def _of_different_content(manifest: Manifest) -> np.ndarray:
    """Rows in storage order, of those with equal content the first."""
    order = manifest.storage_order
    starts = digest_starts(manifest.sha256)[order]
    if len(np.unique(starts)) == len(order):
        return order
    first = np.unique(manifest.sha256[order], axis=0, return_index=True)[1]
    return order[np.sort(first)]


def _images(manifest: Manifest, raw: Path, params: BetonParams, earlier: Beton | None) -> Images:
    copied = np.full(len(manifest), -1, np.int64) if earlier is None else earlier.samples_of(manifest.sha256)
    return Images(manifest, raw, params, earlier, copied)


def _job(manifest: Manifest, images: Images, folder: Path, rows: np.ndarray) -> PartJob:
    copied = images.copied[rows]
    found = copied >= 0
    earlier = images.earlier.take(copied[found]) if images.earlier is not None and found.any() else None
    copied = np.where(found, np.cumsum(found) - 1, -1)
    return PartJob(manifest.path.absolute(), images.raw, folder, images.params, rows, copied, earlier)


def _write_here(manifest: Manifest, images: Images, jobs: Sequence[PartJob], path: Path, workers: int) -> None:
    """Write one part after the other; threads encode for the next while this one writes."""
    workers = max(workers, 1)
    rows = list(chain.from_iterable(job.rows.tolist() for job in jobs))
    pool = ThreadPoolExecutor(workers)
    try:
        grouped = bool(rows) and reads_in_groups(manifest.paths[rows[0]])
        samples = in_storage_order(images, manifest, sorted(rows) if grouped else rows, pool, workers)
        with progress(samples, len(rows), name=path.name, unit="images") as bar:
            stored: Iterator[tuple[int, Stored]] = reordered(bar, rows, path) if grouped else iter(bar)
            for job in jobs:
                write_part(manifest, job, stored)
    finally:
        # Without waiting: Ctrl-C is not to wait for a source that hangs, on a mount that is gone for example.
        pool.shutdown(wait=False, cancel_futures=True)


def _write_on(
    cluster: Executor, manifest: Manifest, images: Images, jobs: Sequence[PartJob], path: Path, workers: int
) -> None:
    """Let others write the parts.

    Raises:
        BetonError: a part ended each process that was to write it.
    """
    done = 0
    with progress(total=sum(len(job.rows) for job in jobs), name=path.name, unit="images") as bar:
        try:
            for job, _ in in_order(cluster, partial(run_job, workers=max(workers, 1)), jobs, ahead=len(jobs)):
                bar.update(len(job.rows))
                done += 1
        except TaskKilled as error:
            rows = jobs[done].rows
            names = ", ".join(printable(images.raw / manifest.paths[row]) for row in rows[:NAMED].tolist())
            more = ", ..." if len(rows) > NAMED else ""
            raise BetonError(
                f"{error} while they stored {count(len(rows), 'image')}: {names}{more}; often it is for lack of "
                "memory. Start workers with more memory or fewer threads, or look at these files."
            ) from error
