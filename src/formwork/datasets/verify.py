"""Verification: every candidate file checked, in parallel, or known from before."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from formwork.datasets.inspect_file import Bad, Facts, inspect_files
from formwork.datasets.scan import Candidate
from formwork.datasets.verification_cache import VerificationCache
from formwork.errors import DatasetError
from formwork.images.manifest import Row

CHUNK_FILES, CHUNK_BYTES = 1024, 4 << 20  # a unit of work: small against the whole, large against its cost
PROCESSES_FROM = 4  # units; starting processes takes about a second
AHEAD = 4  # units handed out to each process in advance: bounds memory


@dataclass(frozen=True)
class Checked:
    """What was found, by candidate.

    Attributes:
        rows: the manifest row of each image; None for a bad file.
        moments: (N, 3, 2) int64: for each channel the sum of its values and of their squares; 0 for a bad file.
        bad: by position among the candidates.
        remembered: how many were known from before, and not read.
    """

    rows: list[Row | None]
    moments: np.ndarray
    bad: dict[int, Bad]
    remembered: int


def verify(
    raw: Path, candidates: Sequence[Candidate], labels: Mapping[str, int], workers: int, memory: Path
) -> Checked:
    """Decode every candidate that is not known from before.

    Threads would wait for each other: of a small image, most work is Python's. So processes do it, from a size of the
    dataset on that pays for starting them.

    Args:
        raw: the folder that the candidates' paths are relative to.
        labels: by class name.
        memory: file of what was verified before; see formwork.datasets.verification_cache.

    Raises:
        DatasetError: a process was killed.
    """
    rows: list[Row | None] = [None] * len(candidates)
    moments = np.zeros((len(candidates), 6), dtype=np.int64)
    bad: dict[int, Bad] = {}
    shared = {}  # one object for each of the few class names, modes and formats, rather than one a row

    def note(position: int, found: Facts | Bad) -> None:
        if isinstance(found, Bad):
            bad[position] = found
            return
        candidate = candidates[position]
        rows[position] = Row(
            path=candidate.path,
            class_name=candidate.class_name,
            label=labels[candidate.class_name],
            bytes=found.size,
            width=found.width,
            height=found.height,
            mode=shared.setdefault(found.mode, found.mode),
            format=shared.setdefault(found.format, found.format),
            sha256=found.sha256.hex(),
        )
        moments[position] = found.moments

    with (
        closing(VerificationCache(memory)) as known,
        tqdm(total=len(candidates), desc="link", unit=" images", mininterval=0.5) as bar,
    ):
        unknown, sizes = [], []
        for position, candidate in enumerate(candidates):
            status = _status(f"{raw}/{candidate.path}")
            found = known.get(candidate.path, status) if status else None
            if found:
                note(position, found)
            else:
                unknown.append(position)
                sizes.append(status.st_size if status else 0)
        bar.update(len(candidates) - len(unknown))
        chunks = _chunks(unknown, sizes)
        started_ns = time.time_ns()
        for positions, results in _check_chunks(raw, candidates, chunks, workers):
            for position, found in zip(positions, results, strict=True):
                note(position, found)
            paths = (candidates[position].path for position in positions)
            known.put(((p, f) for p, f in zip(paths, results, strict=True) if isinstance(f, Facts)), started_ns)
            bar.update(len(positions))
        known.prune([candidate.path for candidate in candidates])
    return Checked(rows, moments.reshape(-1, 3, 2), bad, len(candidates) - len(unknown))


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None  # reading it will say why


def _chunks(positions: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    chunks: list[list[int]] = []
    room = 0
    for position, size in zip(positions, sizes, strict=True):
        if not chunks or len(chunks[-1]) == CHUNK_FILES or size > room:
            chunks.append([])
            room = CHUNK_BYTES
        chunks[-1].append(position)
        room -= size
    return chunks


def _check_chunks(
    raw: Path, candidates: Sequence[Candidate], chunks: Sequence[list[int]], workers: int
) -> Iterator[tuple[list[int], list[Facts | Bad]]]:
    """Each chunk with its results, in order."""
    work = ((chunk, [candidates[position].path for position in chunk]) for chunk in chunks)
    if workers <= 1 or len(chunks) < PROCESSES_FROM:
        yield from ((chunk, inspect_files(str(raw), paths)) for chunk, paths in work)
        return
    # Not forked from this process, where other threads may hold locks.
    context = multiprocessing.get_context("forkserver")
    pool = ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context, initializer=_start_worker)
    waiting: list[tuple[list[int], Future[list[Facts | Bad]]]] = []
    try:
        for chunk, paths in work:
            waiting.append((chunk, pool.submit(inspect_files, str(raw), paths)))
            if len(waiting) >= workers * AHEAD:
                chunk, future = waiting.pop(0)
                yield chunk, future.result()
        while waiting:
            chunk, future = waiting.pop(0)
            yield chunk, future.result()
    except BrokenProcessPool as error:
        first = f"{raw}/{candidates[chunk[0]].path}"
        raise DatasetError(
            f"A process that verified images was killed, often for lack of memory; {first} is among the files that it "
            "may have read, or stands shortly before them. Set data.num_workers in params.yaml lower, or look at them."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, also where it is killed."""
    gc.freeze()  # what was imported stays: not to be looked through again and again, at 5 % of the time of small images
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
