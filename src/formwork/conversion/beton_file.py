"""Writing one file of a beton, from images that are encoded."""

from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np

from formwork.beton import format as layout
from formwork.beton import provenance
from formwork.conversion.encode import Stored
from formwork.errors import BetonError
from formwork.escapes import printable

PAGE_SIZE = 1 << 23  # FFCV's default; larger where a sample needs it


def write_samples(
    file: BinaryIO,
    labels: np.ndarray,
    facts: dict[str, Any],
    samples: Iterable[tuple[int, Stored]],
    name_of: Callable[[int], str],
    keys: np.ndarray | None = None,
) -> bytes:
    """Write a beton of N samples with the fields `image` and `label` into an empty file.

    Args:
        labels: (N,) int64, by sample id.
        facts: what the beton was made from, see formwork.beton.provenance.
        samples: each sample id once, in the order in which they are stored.
        name_of: what an error calls a sample.
        keys: (N,) KEY, in a part: what is written of them is complete once all samples are taken.

    Returns:
        The digest of the tables, see formwork.beton.provenance.digest_of.

    Raises:
        BetonError: a sample is too large.
    """
    count = len(labels)
    metadata = np.zeros(count, dtype=layout.METADATA)
    metadata["f1"] = labels
    allocations = np.zeros(count, dtype=layout.ALLOCATION)
    checksums = np.zeros(count, dtype=provenance.CHECKSUM)
    text = provenance.encode_json(facts)
    page = PAGE_SIZE
    position = layout.HEADER.itemsize + 2 * layout.FIELD.itemsize + metadata.nbytes
    position += provenance.PROVENANCE.itemsize + len(text) + checksums.nbytes
    position += 0 if keys is None else keys.nbytes
    for slot, (sample, stored) in enumerate(samples):
        size = len(stored.data)
        # What does not cross the edge of a page does not cross that of one twice as large.
        page = max(page, 1 << (size - 1).bit_length())
        if page >= layout.MAX_PAGE_SIZE:
            raise BetonError(
                f"{printable(name_of(sample))} takes {size / 1e9:.1f} GB, too much for a beton. Set "
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
    known = np.zeros(0, provenance.KEY) if keys is None else keys
    digest = provenance.digest_of([head, metadata, text, checksums, known, allocations])
    file.seek(position)
    file.write(allocations.tobytes())
    file.seek(0)
    version = provenance.VERSION if keys is None else provenance.PART
    origin = provenance.header(version, text, digest)
    for table in (head, metadata.tobytes(), origin, text, checksums.tobytes(), known.tobytes()):
        file.write(table)
    return digest


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
