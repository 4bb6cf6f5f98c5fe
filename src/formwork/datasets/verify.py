"""Verification of a dataset: every file is read and decoded, by several processes, unless it is in the cache.

The processes are this machine's, or those of a cluster's workers.
"""

import gc
import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from formwork.datasets.verification_cache import ANY_SIZE, STATUS, VerificationCache
from formwork.datasets.verify_file import RECORD, BadFile, File, ImageInfo, Result, Unchanged, verify_files
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.containers import container_status, in_container
from formwork.images.manifest import SHA256_BYTES
from formwork.images.tars import LOOSE
from formwork.parallel import TaskKilled, in_order
from formwork.processes import start_fork_server
from formwork.progress import progress
from formwork.text import count

CHUNK_FILES, CHUNK_BYTES = 1024, 4 << 20  # of one task for a process: long enough that handing it over costs nothing
PROCESSES_FROM = 4  # tasks; starting processes takes about a second
TASKS_AHEAD = 4  # for each process, submitted in advance: bounds the memory that their results take
CLUSTER_TASKS, LARGER = 256, 8  # of a cluster: from so many tasks on, each is larger, by this factor at most
CLUSTER_AHEAD = 512  # tasks of a cluster; workers may come at any time
UNREACHED = ("unreadable", "no permission", "broken symlink")  # kinds of BadFile that say something of the machine, too


@dataclass(frozen=True)
class Verification:
    """Results of N files.

    Attributes:
        images: (N,) RECORD, what was found in each file; zeros for a bad one.
        good: (N,) bool, whether a file can be used.
        bad: bad files by position.
        cached: number of files whose results came from the cache.
    """

    images: np.ndarray
    good: np.ndarray
    bad: dict[int, BadFile]
    cached: int

    @cached_property
    def sha256(self) -> np.ndarray:
        """(N, 32) uint8, of the content of each file."""
        return np.ascontiguousarray(self.images["sha256"]).view(np.uint8).reshape(-1, SHA256_BYTES)


def verify(
    raw: Path,
    paths: Sequence[str],
    workers: int,
    cache: Path,
    keep: Sequence[str] | None = None,
    spans: np.ndarray | None = None,
    cluster: Executor | None = None,
) -> Verification:
    """Decode every file whose result is not in the cache. One that is there with another status is read, and decoded
    only if its content is new: so are the images of a tar that was appended to, and of files that were copied.

    Large datasets are verified by processes and not by threads, which would wait for the GIL: most of the work on a
    small image is Python's.

    Args:
        raw: the folder that the paths are relative to.
        workers: number of processes; 0 or 1: in this process.
        cache: file of a VerificationCache, which need not exist.
        keep: paths of the dataset, whose results stay in the cache; `paths` by default.
        spans: (N,) tars.SPAN, where each is in its tar; without, none lies in one.
        cluster: in place of `workers`, but for few files beside many in the cache; see formwork.cluster.

    Raises:
        DatasetError: a process was killed; or a worker of the cluster cannot read a file that this process can.
    """
    bad: dict[int, BadFile] = {}
    with closing(VerificationCache(cache)) as known, progress(total=len(paths), name="link", unit="images") as bar:
        status = _status(raw, paths, spans)
        images, good = known.look_up(paths, status)
        unknown = np.flatnonzero(~good)
        cached = len(paths) - len(unknown)
        bar.update(cached)
        started_ns = time.time_ns()
        for positions, results in _verify_unknown(
            raw,
            unknown,
            status["size"][unknown],
            lambda chunk: _files(chunk, paths, spans, images["sha256"]),
            workers,
            None if cached and len(unknown) < CHUNK_FILES else cluster,
        ):
            _take(images, positions, results)
            at = [
                position for position, result in zip(positions, results, strict=True) if not isinstance(result, BadFile)
            ]
            bad |= {at: result for at, result in zip(positions, results, strict=True) if isinstance(result, BadFile)}
            good[at] = True
            known.put([paths[position] for position in at], images[at], started_ns)
            bar.update(len(positions))
        known.prune(paths if keep is None else keep)
    return Verification(images, good, bad, cached)


def _files(positions: Sequence[int], paths: Sequence[str], spans: np.ndarray | None, digests: np.ndarray) -> list[File]:
    """Those at some positions of all files, for verify_files."""
    at = np.asarray(positions)
    places = itertools.repeat(LOOSE) if spans is None else spans[at].tolist()
    return [
        File(paths[position], None if span == LOOSE else span, known)
        for position, span, known in zip(positions, places, digests[at].tolist(), strict=False)
    ]


def _take(images: np.ndarray, positions: Sequence[int], results: Sequence[Result]) -> None:
    """Put results in their places; those with unchanged content have an earlier one there."""
    for position, result in zip(positions, results, strict=True):
        if isinstance(result, Unchanged):
            for field, value in zip(STATUS, result, strict=True):
                images[field][position] = value
        elif isinstance(result, BadFile):
            images[position] = np.zeros((), RECORD)
    new = {at: result for at, result in zip(positions, results, strict=True) if isinstance(result, ImageInfo)}
    images[list(new)] = np.array(list(new.values()), RECORD)


def _status(raw: Path, paths: Sequence[str], spans: np.ndarray | None) -> np.ndarray:
    """(N,) the status of each file, with the fields of a VerificationCache's; zeros where it has none.

    Of an image in a container it is that of the container, with the image's own size where that is known.
    """

    folder = str(raw)  # not made of a Path for each file
    sizes = (
        itertools.repeat(ANY_SIZE)
        if spans is None
        else np.where(spans["offset"] == LOOSE[0], ANY_SIZE, spans["size"]).tolist()
    )

    def each() -> Iterator[tuple[int, int, int]]:
        prefix, stamp = "/", (0, 0)  # of the container of the image before, which most images share
        for path, size in zip(paths, sizes, strict=False):
            try:
                if not path.startswith(prefix):
                    container = in_container(folder, path)
                    prefix = f"{container}/" if container else "/"
                    stamp = container_status(f"{folder}/{container}") if container else (0, 0)
                if prefix != "/":
                    yield size, *stamp
                    continue
                found = os.stat(f"{folder}/{path}")
                yield found.st_size, found.st_mtime_ns, found.st_ino
            except OSError:
                yield 0, 0, 0  # reading the file fails, too, and gives the reason

    return np.fromiter(each(), RECORD[STATUS], len(paths))


def _verify_unknown(
    raw: Path,
    positions: np.ndarray,
    sizes: np.ndarray,
    files_of: Callable[[list[int]], list[File]],
    workers: int,
    cluster: Executor | None,
) -> Iterator[tuple[list[int], list[Result]]]:
    """The positions in parts, each with its results, in order; sizes: of each file, in bytes."""
    if cluster is None:
        chunks = _chunks(positions, sizes, CHUNK_FILES, CHUNK_BYTES)
        if workers <= 1 or len(chunks) < PROCESSES_FROM:
            yield from zip(chunks, map(partial(verify_files, str(raw)), map(files_of, chunks)), strict=True)
            return
        with _processes(min(workers, len(chunks))) as pool:
            yield from _verify_chunks(pool, raw, chunks, files_of, workers * TASKS_AHEAD)
        return
    files = min(max(len(positions) // CLUSTER_TASKS, CHUNK_FILES), LARGER * CHUNK_FILES)
    size = min(max(int(sizes.sum()) // CLUSTER_TASKS, CHUNK_BYTES), LARGER * CHUNK_BYTES)
    chunks = _chunks(positions, sizes, files, size)
    for chunk, results in _verify_chunks(cluster, raw, chunks, files_of, CLUSTER_AHEAD):
        _check_reached(raw, files_of(chunk), results)
        yield chunk, results


def _chunks(positions: np.ndarray, sizes: np.ndarray, files: int, most: int) -> list[list[int]]:
    """Cut a sequence of files into tasks of at most `files` files and, but for single files, `most` bytes."""
    chunks: list[list[int]] = []
    room = 0
    for position, size in zip(positions.tolist(), sizes.tolist(), strict=True):
        if not chunks or len(chunks[-1]) == files or size > room:
            chunks.append([])
            room = most
        chunks[-1].append(position)
        room -= size
    return chunks


def _verify_chunks(
    pool: Executor, raw: Path, chunks: Sequence[list[int]], files_of: Callable[[list[int]], list[File]], ahead: int
) -> Iterator[tuple[list[int], list[Result]]]:
    """Each chunk with its results, in order."""
    done = 0
    try:
        for _, results in in_order(pool, partial(verify_files, str(raw)), map(files_of, chunks), ahead):
            yield chunks[done], results
            done += 1
    except BrokenExecutor as error:
        first, *_, last = [printable(f"{raw}/{file.path}") for file in files_of(chunks[done])] * 2
        if isinstance(error, TaskKilled):
            raise DatasetError(
                f"{error} while they verified {count(len(chunks[done]), 'file')}, {first} to {last}; often it is for "
                "lack of memory. Start workers with more memory or fewer threads, or look at these files."
            ) from error
        raise DatasetError(
            f"A process that verified images was killed, often for lack of memory; {first} is among the files that it "
            "may have read, or stands shortly before them. Set data.num_workers in params.yaml lower, or look at them."
        ) from error


def _check_reached(raw: Path, files: Sequence[File], results: Sequence[Result]) -> None:
    """Raise DatasetError where a worker could not read a file that can be read here: it is no fault of the file."""
    reasons = {
        file: result.reason
        for file, result in zip(files, results, strict=True)
        if isinstance(result, BadFile) and result.kind in UNREACHED
    }
    for (file, reason), here in zip(reasons.items(), verify_files(str(raw), list(reasons)), strict=True):
        if not isinstance(here, BadFile):
            raise DatasetError(
                f"{printable(f'{raw}/{file.path}')} can be read here, and not by a worker of the cluster: {reason}. "
                f"All of {raw}, and what it links to, must be there for the workers, too, under the same path and "
                "readable for their user."
            )


@contextmanager
def _processes(number: int) -> Iterator[Executor]:
    """Processes of this machine. They are not forked from this one, where other threads may hold locks."""
    context = multiprocessing.get_context("forkserver")
    start_fork_server()
    pool = ProcessPoolExecutor(number, mp_context=context, initializer=_start_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Ignore Ctrl-C, which is the parent's to handle, and exit when the parent does, also when it is killed."""
    gc.freeze()  # without what was imported, garbage collection takes 5 % less of the time of small images
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a worker
    parent.join()
    os._exit(1)
