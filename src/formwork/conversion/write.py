"""Writing a beton: the same bytes for the same manifest and params, with any number of workers.

Threads encode, without the GIL; this thread alone decides where each sample goes, in the
manifest's storage order, and writes. There is no shared state to race for, and no process that can die unnoticed.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from tqdm import tqdm

from formwork.beton import format as layout
from formwork.beton import provenance
from formwork.conversion.encode import Stored, encode
from formwork.conversion.spool import reordered
from formwork.errors import BetonError
from formwork.escapes import printable
from formwork.files import atomic_write
from formwork.images.containers import reads_in_groups
from formwork.images.manifest import Manifest
from formwork.parallel import in_order
from formwork.params import BetonParams
from formwork.progress import progress

NO_IMAGES = b"The dataset has no such split.\n"  # not empty, of which DVC warns
PAGE_SIZE = 1 << 23  # FFCV's default; larger where a sample needs it
LOOKAHEAD = 8  # samples encoded in advance, for each worker: evens out slow images
MEMORY = 1 << 28  # bytes that samples in work may take together, as far as each worker has one


@dataclass
class Summary:
    """Result of a conversion: images by storage mode, images stored byte for byte, bytes of the original files and of
    the beton, seconds."""

    modes: Counter[str] = field(default_factory=Counter)
    passed_through: int = 0
    source_bytes: int = 0
    beton_bytes: int = 0
    seconds: float = 0.0

    @property
    def images(self) -> int:
        return sum(self.modes.values())

    def metrics(self) -> dict[str, float]:
        """The same for the same beton."""
        return {
            "images": self.images,
            "source_bytes": self.source_bytes,
            "beton_bytes": self.beton_bytes,
            "jpg_share": self._share(self.modes["jpg"]),
            "raw_share": self._share(self.modes["raw"]),
            "passed_through_share": self._share(self.passed_through),
        }

    def _share(self, images: int) -> float:
        return images / self.images if self.images else 0.0

    def speed(self) -> dict[str, float]:
        """Wall-clock figures: they differ from run to run."""
        return {"seconds": self.seconds, "images_per_second": self.images / self.seconds if self.images else 0.0}

    def __str__(self) -> str:
        if not self.images:
            return "no images, as the dataset has no such split"
        shares = [f"{count / self.images:.0%} {mode}" for mode, count in sorted(self.modes.items())]
        if self.passed_through:
            shares.append(f"{self.passed_through / self.images:.0%} as they were")
        return (
            f"{self.images} images ({', '.join(shares)}), {self.source_bytes / 1e6:.1f} to "
            f"{self.beton_bytes / 1e6:.1f} MB in {self.seconds:.1f} s, {self.images / self.seconds:.0f} images/s"
        )


def write_beton(manifest: Manifest, raw: Path, path: Path, params: BetonParams, workers: int) -> Summary:
    """Write the images of a manifest to a beton with the fields `image` and `label`.

    Metadata row i is row i of the manifest. Of a manifest without images the file is NO_IMAGES, and no beton: a stage
    of DVC always has its outputs. The file appears at `path` when it is whole, and not before.

    Args:
        raw: the folder that the manifest's paths are relative to.
        workers: threads that encode; does not change the file.

    Raises:
        BetonError: an image is missing, changed, unreadable or too large.
        FormworkError: `path` cannot be written.
    """
    start = time.perf_counter()
    summary = Summary()
    if not len(manifest):
        with atomic_write(path) as file:
            file.write(NO_IMAGES)
        return summary
    workers = max(workers, 1)
    pool = ThreadPoolExecutor(workers)
    try:
        with atomic_write(path) as file:
            rows, order, memory = manifest.rows, manifest.storage_order.tolist(), memory_needed(manifest)
            grouped = reads_in_groups(manifest.paths[0])
            samples = in_order(
                pool,
                lambda sample: encode(rows[sample], raw, params),
                range(len(rows)) if grouped else order,
                ahead=workers * LOOKAHEAD,
                cost=lambda sample: int(memory[sample]),
                budget=MEMORY,
                always=workers,
            )
            with progress(samples, len(manifest), name=path.name, unit="images") as bar:
                encoded = _watch(bar, manifest, summary)
                if grouped:
                    encoded = reordered(encoded, order, path)
                _write(file, manifest, provenance.describe(manifest, params), encoded)
            summary.beton_bytes = file.seek(0, 2)
    finally:
        # Without waiting: Ctrl-C is not to wait for a source that hangs, on a mount that is gone for example.
        pool.shutdown(wait=False, cancel_futures=True)
    summary.seconds = time.perf_counter() - start
    return summary


def memory_needed(manifest: Manifest) -> np.ndarray:
    """(N,) int64, bytes to encode each image, roughly: the file, and its pixels decoded (4 bytes each in Pillow) and
    converted."""
    return manifest.numbers("bytes") + 8 * manifest.pixels


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


def _write(file: BinaryIO, manifest: Manifest, facts: dict, samples: Iterable[tuple[int, Stored]]) -> None:
    count = len(manifest)
    metadata = np.zeros(count, dtype=layout.METADATA)
    # Labels from a table may change while the file stays: in their place, what a stock reader finds them by.
    metadata["f1"] = np.arange(count) if manifest.columns.from_table else manifest.labels
    allocations = np.zeros(count, dtype=layout.ALLOCATION)
    checksums = np.zeros(count, dtype=provenance.CHECKSUM)
    text = provenance.encode_json(facts)
    page = PAGE_SIZE
    position = layout.HEADER.itemsize + 2 * layout.FIELD.itemsize + metadata.nbytes
    position += provenance.PROVENANCE.itemsize + len(text) + checksums.nbytes
    for slot, (sample, stored) in enumerate(samples):
        size = len(stored.data)
        # What does not cross the edge of a page does not cross that of one twice as large.
        page = max(page, 1 << (size - 1).bit_length())
        if page >= layout.MAX_PAGE_SIZE:
            raise BetonError(
                f"{printable(manifest.paths[sample])} takes {size / 1e9:.1f} GB, too much for a beton. Set "
                "ffcv.beton.max_resolution in params.yaml."
            )
        if position // page != (position + size - 1) // page:
            position = -(-position // page) * page
        file.seek(position)  # a gap up to the edge of a page reads as zeros
        file.write(stored.data)
        metadata["f0"][sample] = (stored.mode, stored.width, stored.height, position)
        allocations[slot] = (sample, position, size)
        checksums[sample] = stored.checksum
        position += size
    head = np.array([(layout.VERSION, 2, page, count, position)], dtype=layout.HEADER).tobytes() + _fields()
    digest = provenance.digest_of([head, metadata, text, checksums, allocations])
    file.seek(position)
    file.write(allocations.tobytes())
    file.seek(0)
    for part in (head, metadata.tobytes(), provenance.header(text, digest), text, checksums.tobytes()):
        file.write(part)


def _fields() -> bytes:
    """The descriptors of `image` and `label`."""
    fields = np.zeros(2, dtype=layout.FIELD)
    for descriptor, type_id, name in zip(
        fields, (layout.IMAGE_FIELD, layout.INT_FIELD), (b"image", b"label"), strict=True
    ):
        descriptor["type_id"] = type_id
        descriptor["name"][: len(name)] = np.frombuffer(name, dtype=np.uint8)
        descriptor["arguments"][: len(provenance.MAGIC)] = np.frombuffer(provenance.MAGIC, dtype=np.uint8)
    return fields.tobytes()
