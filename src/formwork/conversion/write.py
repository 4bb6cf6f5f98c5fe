"""Writing a beton: the same bytes for the same manifest and params, with any number of workers.

Threads encode, without the GIL; this thread alone decides where each sample goes, in the
manifest's storage order, and writes. There is no shared state to race for, and no process that can die unnoticed.
"""

import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from formwork.beton import format as layout
from formwork.beton import provenance
from formwork.conversion.beton_file import write_samples
from formwork.conversion.earlier import remove_parts
from formwork.conversion.encode import Stored
from formwork.conversion.part import Images, in_storage_order
from formwork.conversion.parts import write_parts
from formwork.conversion.spool import reordered
from formwork.conversion.summary import Summary
from formwork.files import atomic_write
from formwork.images.containers import reads_in_groups
from formwork.images.manifest import Manifest
from formwork.params import BetonParams
from formwork.progress import progress

NO_IMAGES = b"The dataset has no such split.\n"  # not empty, of which DVC warns


def write_beton(
    manifest: Manifest,
    raw: Path,
    path: Path,
    params: BetonParams,
    workers: int,
    repack: bool = False,
    cluster: Executor | None = None,
) -> Summary:
    """Write the images of a manifest to a beton with the fields `image` and `label`.

    It is one file, or where it would be larger than params.part_mb a folder of parts, see
    formwork.conversion.parts.write_parts. Metadata row i of one file is row i of the manifest. Of a manifest without
    images the file is NO_IMAGES, and no beton: a stage of DVC always has its outputs. The file or folder appears at
    `path` when it is whole, and not before.

    Args:
        raw: the folder that the manifest's paths are relative to.
        workers: threads that encode; does not change the file.
        repack, cluster: of parts.

    Raises:
        BetonError: an image is missing, changed, unreadable or too large.
        FormworkError: `path` cannot be written.
    """
    if len(manifest) and params.part_mb is not None:
        summary = write_parts(manifest, raw, path, params, workers, repack, cluster)
        if summary is not None:
            return summary
    remove_parts(path)
    if not len(manifest):
        with atomic_write(path) as file:
            file.write(NO_IMAGES)
        return Summary()
    return _write_file(manifest, raw, path, params, max(workers, 1))


def _write_file(manifest: Manifest, raw: Path, path: Path, params: BetonParams, workers: int) -> Summary:
    start = time.perf_counter()
    summary = Summary()
    pool = ThreadPoolExecutor(workers)
    try:
        with atomic_write(path) as file:
            images = Images(manifest, raw, params, None, np.full(len(manifest), -1, np.int64))
            order = manifest.storage_order.tolist()
            grouped = reads_in_groups(manifest.paths[0])
            samples = in_storage_order(images, manifest, range(len(order)) if grouped else order, pool, workers)
            with progress(samples, len(manifest), name=path.name, unit="images") as bar:
                encoded = _watch(bar, manifest, summary)
                if grouped:
                    encoded = reordered(encoded, order, path)
                # Labels from a table may change while the file stays: in their place, what a reader finds them by.
                labels = np.arange(len(manifest)) if manifest.columns.from_table else manifest.labels
                write_samples(file, labels, provenance.describe(manifest, params), encoded, manifest.paths.__getitem__)
            summary.beton_bytes = file.seek(0, 2)
    finally:
        # Without waiting: Ctrl-C is not to wait for a source that hangs, on a mount that is gone for example.
        pool.shutdown(wait=False, cancel_futures=True)
    summary.seconds = time.perf_counter() - start
    return summary


def _watch(bar: tqdm, manifest: Manifest, summary: Summary) -> Iterator[tuple[int, Stored]]:
    """Count the samples that pass."""
    sizes = manifest.numbers("bytes")
    for sample, stored in bar:
        summary.modes[layout.MODE_NAMES[stored.mode]] += 1
        summary.passed_through += stored.passed_through
        summary.source_bytes += int(sizes[sample])
        seconds = bar.format_dict["elapsed"]
        bar.set_postfix_str(f"{summary.source_bytes / 1e6 / max(seconds, 1e-3):.0f} MB/s", refresh=False)
        yield sample, stored
