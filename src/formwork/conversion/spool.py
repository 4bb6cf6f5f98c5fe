"""Encoded images in a file of their own, written in one order and read in another.

Of a Parquet file a whole row group is read for any image in it. So its images are encoded in the order in which they
lie there, each group is read once, and what a beton holds is put in its place from here.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from formwork.conversion.encode import Stored
from formwork.files import writing

FIELDS = np.dtype(
    [
        ("mode", "u1"),
        ("width", "u4"),
        ("height", "u4"),
        ("checksum", "u8"),
        ("passed", "?"),
        ("at", "i8"),
        ("size", "i8"),
    ]
)


def reordered(samples: Iterable[tuple[int, Stored]], order: Sequence[int], path: Path) -> Iterator[tuple[int, Stored]]:
    """The same samples in another order.

    Args:
        samples: each of `order` once.
        path: of the file that they are for; they wait on the same disk, in a file without a name.

    Raises:
        FormworkError: there is no room.
    """
    kept = np.zeros(max(order, default=-1) + 1, FIELDS)
    at = 0
    with writing(path), tempfile.TemporaryFile(dir=path.parent) as file:
        for sample, stored in samples:
            size = len(stored.data)
            fields = (stored.mode, stored.width, stored.height, stored.checksum, stored.passed_through, at, size)
            kept[sample] = fields
            file.write(stored.data)
            at += size
        for sample in order:
            mode, width, height, checksum, passed, start, size = kept[sample].tolist()
            file.seek(start)
            yield sample, Stored(mode, width, height, file.read(size), checksum, passed)
