"""Writing a beton: the same bytes for the same manifest and params, with any number of workers.

Threads encode (Pillow releases the interpreter's lock); this thread alone decides where each sample goes, in the
manifest's storage order, and writes. There is no shared state to race for, and no process that can die unnoticed.
"""

import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from formwork.beton import format as layout
from formwork.beton.encode import Stored, encode
from formwork.datasets.manifest import Manifest
from formwork.errors import BetonError
from formwork.files import atomic_write
from formwork.params import BetonParams

PAGE_SIZE = 1 << 23  # FFCV's default
LOOKAHEAD = 8  # samples encoded in advance, for each worker: bounds memory, evens out slow images


@dataclass
class Summary:
    """What was written: images by mode, bytes of the original files and of the beton, seconds."""

    modes: Counter[str] = field(default_factory=Counter)
    source_bytes: int = 0
    beton_bytes: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        images = sum(self.modes.values())
        shares = ", ".join(f"{count / images:.0%} {mode}" for mode, count in sorted(self.modes.items()))
        return (
            f"{images} images ({shares}): {self.source_bytes / 1e6:.1f} MB of files to {self.beton_bytes / 1e6:.1f} MB "
            f"in {self.seconds:.1f} s, {images / self.seconds:.0f} images/s"
        )


def write_beton(manifest: Manifest, raw: Path, path: Path, params: BetonParams, workers: int) -> Summary:
    """Write the images of a manifest to a beton with the fields `image` and `label`.

    Metadata row i is row i of the manifest. The file appears at `path` when it is whole, and not before.

    Args:
        raw: the folder that the manifest's paths are relative to.
        workers: threads that encode; does not change the file.

    Raises:
        BetonError: an image is missing, changed or unreadable.
        FormworkError: `path` cannot be written.
    """
    start = time.perf_counter()
    summary = Summary()
    with atomic_write(path) as file, ThreadPoolExecutor(max(workers, 1)) as pool:
        ahead = max(workers, 1) * LOOKAHEAD
        samples = _encode_in_order(pool, ahead, manifest, raw, params)
        bar = tqdm(samples, total=len(manifest), desc=path.name, unit=" images", mininterval=0.5)
        _write(file, manifest, bar, page_size(manifest, params), summary)
        summary.beton_bytes = file.tell()
    summary.seconds = time.perf_counter() - start
    return summary


def page_size(manifest: Manifest, params: BetonParams) -> int:
    """A power of two that holds any sample of the manifest, as the format demands."""
    limit = params.max_resolution or layout.MAX_SIDE
    largest = 0
    for row in manifest.rows:
        scale = min(1.0, limit / max(row.width, row.height))
        largest = max(largest, int(row.width * scale + 1) * int(row.height * scale + 1) * 3)
    # A JPEG of noise can be larger than its pixels, though never twice; its header takes less than 1 kB.
    needed = largest if params.write_mode == "raw" else 2 * largest + 1024
    size = max(PAGE_SIZE, 1 << (needed - 1).bit_length())
    if size >= layout.MAX_PAGE_SIZE:
        raise BetonError(
            f"{manifest.path} has an image of {largest / 1e6:.0f} MB of pixels, too large for a beton. "
            "Set ffcv.beton.max_resolution in params.yaml."
        )
    return size


def _encode_in_order(
    pool: ThreadPoolExecutor, ahead: int, manifest: Manifest, raw: Path, params: BetonParams
) -> Iterator[tuple[int, Stored]]:
    """Sample ids and encoded samples in storage order, at most `ahead` of them in memory."""
    waiting: deque[tuple[int, Future[Stored]]] = deque()
    try:
        for sample in manifest.storage_order.tolist():
            waiting.append((sample, pool.submit(encode, manifest.rows[sample], raw, params)))
            if len(waiting) == ahead:
                sample, future = waiting.popleft()
                yield sample, future.result()
        for sample, future in waiting:
            yield sample, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _write(
    file: BinaryIO, manifest: Manifest, samples: Iterator[tuple[int, Stored]], page: int, summary: Summary
) -> None:
    count = len(manifest)
    metadata = np.zeros(count, dtype=layout.METADATA)
    metadata["f1"] = manifest.labels
    allocations = np.zeros(count, dtype=layout.ALLOCATION)
    position = layout.HEADER.itemsize + 2 * layout.FIELD.itemsize + metadata.nbytes
    for slot, (sample, stored) in enumerate(samples):
        size = len(stored.data)
        if position // page != (position + size - 1) // page:
            position = -(-position // page) * page
        file.seek(position)  # a gap up to the edge of a page reads as zeros
        file.write(stored.data)
        metadata["f0"][sample] = (stored.mode, stored.width, stored.height, position)
        allocations[slot] = (sample, position, size)
        position += size
        summary.modes[layout.MODE_NAMES[stored.mode]] += 1
        summary.source_bytes += manifest.rows[sample].bytes
    file.seek(position)
    file.write(allocations.tobytes())
    file.seek(0)
    file.write(np.array([(layout.VERSION, 2, page, count, position)], dtype=layout.HEADER).tobytes())
    for type_id, name in ((layout.IMAGE_FIELD, b"image"), (layout.INT_FIELD, b"label")):
        descriptor = np.zeros(1, dtype=layout.FIELD)
        descriptor["type_id"] = type_id
        descriptor["name"][0, : len(name)] = np.frombuffer(name, dtype=np.uint8)
        file.write(descriptor.tobytes())
    file.write(metadata.tobytes())
    file.seek(0, 2)
