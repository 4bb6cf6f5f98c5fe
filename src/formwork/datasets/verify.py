"""Verification of a dataset: every file is read and decoded, by several processes, unless it is in the cache."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from formwork.datasets.candidates import Candidate
from formwork.datasets.verification_cache import VerificationCache
from formwork.datasets.verify_file import BadFile, ImageInfo, verify_files
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.row import Row
from formwork.parallel import in_order
from formwork.processes import start_fork_server
from formwork.progress import progress

CHUNK_FILES, CHUNK_BYTES = 1024, 4 << 20  # of one task for a process: long enough that handing it over costs nothing
PROCESSES_FROM = 4  # tasks; starting processes takes about a second
TASKS_AHEAD = 4  # for each process, submitted in advance: bounds the memory that their results take


@dataclass(frozen=True)
class Verification:
    """Results by candidate.

    Attributes:
        rows: the manifest row of each image; None for a bad file.
        moments: (N, 3, 2) int64: for each channel the sum of its values and of their squares; 0 for a bad file.
        bad: bad files by position among the candidates.
        cached: number of files whose results came from the cache.
    """

    rows: list[Row | None]
    moments: np.ndarray
    bad: dict[int, BadFile]
    cached: int


def verify(
    raw: Path,
    candidates: Sequence[Candidate],
    labels: Mapping[str, int],
    workers: int,
    cache: Path,
    keep: Collection[str] | None = None,
) -> Verification:
    """Decode every candidate whose result is not in the cache.

    Large datasets are verified by processes and not by threads, which would wait for the GIL: most of the work on a
    small image is Python's.

    Args:
        raw: the folder that the candidates' paths are relative to.
        labels: by class name.
        workers: number of processes; 0 or 1: in this process.
        cache: file of a VerificationCache, which need not exist.
        keep: paths of the dataset, whose results stay in the cache; those of the candidates by default.

    Raises:
        DatasetError: a process was killed.
    """
    rows: list[Row | None] = [None] * len(candidates)
    moments = np.zeros((len(candidates), 6), dtype=np.int64)
    bad: dict[int, BadFile] = {}
    shared: dict[str, str] = {}  # one object for each mode and format, rather than one a row

    def store(position: int, result: ImageInfo | BadFile) -> None:
        if isinstance(result, BadFile):
            bad[position] = result
            return
        candidate = candidates[position]
        rows[position] = Row(
            path=candidate.path,
            class_name=candidate.class_name,
            label=labels[candidate.class_name],
            bytes=result.size,
            width=result.width,
            height=result.height,
            mode=shared.setdefault(result.mode, result.mode),
            format=shared.setdefault(result.format, result.format),
            sha256=result.sha256.hex(),
        )
        moments[position] = result.moments

    with (
        closing(VerificationCache(cache)) as known,
        progress(total=len(candidates), name="link", unit="images") as bar,
    ):
        unknown, sizes = [], []
        for position, candidate in enumerate(candidates):
            status = _status(f"{raw}/{candidate.path}")
            cached = known.get(candidate.path, status) if status else None
            if cached:
                store(position, cached)
            else:
                unknown.append(position)
                sizes.append(status.st_size if status else 0)
        bar.update(len(candidates) - len(unknown))
        started_ns = time.time_ns()
        for positions, results in _verify_chunks(raw, candidates, _chunks(unknown, sizes), workers):
            for position, result in zip(positions, results, strict=True):
                store(position, result)
            paths = (candidates[position].path for position in positions)
            known.put(
                ((path, result) for path, result in zip(paths, results, strict=True) if isinstance(result, ImageInfo)),
                started_ns,
            )
            bar.update(len(positions))
        known.prune([candidate.path for candidate in candidates] if keep is None else keep)
    return Verification(rows, moments.reshape(-1, 3, 2), bad, len(candidates) - len(unknown))


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None  # reading the file fails, too, and gives the reason


def _chunks(positions: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Cut a sequence of files into tasks of at most CHUNK_FILES and, but for single files, CHUNK_BYTES."""
    chunks: list[list[int]] = []
    room = 0
    for position, size in zip(positions, sizes, strict=True):
        if not chunks or len(chunks[-1]) == CHUNK_FILES or size > room:
            chunks.append([])
            room = CHUNK_BYTES
        chunks[-1].append(position)
        room -= size
    return chunks


def _verify_chunks(
    raw: Path, candidates: Sequence[Candidate], chunks: Sequence[list[int]], workers: int
) -> Iterator[tuple[list[int], list[ImageInfo | BadFile]]]:
    """Each chunk with its results, in order."""
    work = partial(verify_files, str(raw))
    paths = ([candidates[position].path for position in chunk] for chunk in chunks)
    if workers <= 1 or len(chunks) < PROCESSES_FROM:
        yield from zip(chunks, map(work, paths), strict=True)
        return
    # Not forked from this process, where other threads may hold locks.
    context = multiprocessing.get_context("forkserver")
    start_fork_server()
    pool = ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context, initializer=_start_worker)
    done = 0
    try:
        for _, results in in_order(pool, work, paths, ahead=workers * TASKS_AHEAD):
            yield chunks[done], results
            done += 1
    except BrokenProcessPool as error:
        first = printable(f"{raw}/{candidates[chunks[done][0]].path}")
        raise DatasetError(
            f"A process that verified images was killed, often for lack of memory; {first} is among the files that it "
            "may have read, or stands shortly before them. Set data.num_workers in params.yaml lower, or look at them."
        ) from error
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
