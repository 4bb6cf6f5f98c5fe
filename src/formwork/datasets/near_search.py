"""The search for pairs of images that may be copies at sight, without comparing each with each.

Each hash is summed up in 64 bits: the signs of its lowest frequencies less half their medians over the dataset. (Less
all of it, the bits of images that most others look like would be chance.) The bits are sorted; the first of them, about
as many as there are doublings of the number of images, are the number of a bucket. A copy differs from its original in
few of the bits, and mostly in the least certain ones. So each image is looked up in its bucket, and in those that
differ in any of its few least certain bits; mirrored, too, and cropped in a few ways, one of which is near to any small
crop.

Time and memory grow with the number of images alone, even where all are alike: of a bucket, at most NEIGHBOURS are
looked at, and of an image at most KEPT candidates are kept. All is counted in whole numbers, so that the result does
not depend on the order of the images or on the machine.
"""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from formwork.datasets.perceptual_hash import FREQUENCIES, MIRROR, SIDE, TRANSFORM, times
from formwork.files import atomic_write
from formwork.parallel import in_order

BITS = 64
BUCKET_BITS = 8, 24  # fewest and most
NEIGHBOURS = 8
KEPT = 8
FARTHEST = 16  # bits of BITS, in which a candidate may differ
LEAST_ALIKE = 0.65  # cosine of the angle between the hashes of a candidate and of the image, cropped or mirrored
SHARE = 0.07  # that a view leaves out at one side or two
QUERIES = 1 << 11  # at once: what is computed of them fits a core's cache
OF_A_TASK = 1 << 15  # images that a task of a cluster looks up
CLUSTER_FROM = 1 << 16  # images; fewer take two seconds at most
STEPS = 1 << 10  # of a crop's factors, which are whole: sums stay below 2**24, up to which float32 counts exactly


class View(NamedTuple):
    """A way to look at an image: without these shares of its width and height, and mirrored after that or not."""

    left: float = 0
    top: float = 0
    right: float = 0
    bottom: float = 0
    mirrored: bool = False


def _views() -> tuple[View, ...]:
    middle = [(0.05, 0.05, 0.05, 0.05), (0.1, 0.1, 0.1, 0.1)]
    sides = [(SHARE * (i == 0), SHARE * (i == 1), SHARE * (i == 2), SHARE * (i == 3)) for i in range(4)]
    corners = [(SHARE * a, SHARE * b, SHARE * (1 - a), SHARE * (1 - b)) for a, b in product((1, 0), repeat=2)]
    plain = [View(), View(mirrored=True)]
    few, more = [View(*box) for box in middle + sides], [View(*box) for box in corners]
    return (*plain, *few, *more, *(view._replace(mirrored=True) for view in few + more))


VIEWS = _views()
UNCROPPED, FEW_CROPS, ALL_CROPS = 2, 8, len(VIEWS)
"""How many of VIEWS, from the first on, an image may be looked up in: as it is and mirrored; cropped in the middle and
at one side, too; and cropped at two sides, or cropped and mirrored, too."""
LOOK_UPS = (0, UNCROPPED, 4), (UNCROPPED, FEW_CROPS, 3), (FEW_CROPS, ALL_CROPS, 3)
"""From which view to which, and in how many of its least certain bits a bucket may differ."""


class Pairs(NamedTuple):
    """Pairs of images that may be copies, no two of the same: (P,) positions, and the view of `first` in VIEWS which
    `second` looks like."""

    first: np.ndarray
    second: np.ndarray
    view: np.ndarray


def find_pairs(codes: np.ndarray, views: np.ndarray, cluster: Executor | None = None, folder: Path = Path()) -> Pairs:
    """Pairs of images whose hashes are alike.

    Args:
        codes: (N, COEFFICIENTS) int8, see formwork.datasets.perceptual_hash.decode_hashes.
        views: (N,) UNCROPPED, FEW_CROPS or ALL_CROPS: in how many of VIEWS each image is looked up.
        cluster: where many images are looked up; see formwork.cluster.
        folder: shared with its workers, which read the hashes there.
    """
    if len(codes) < 2:
        nothing = np.empty(0, np.int64)
        return Pairs(nothing, nothing, nothing)
    order = by_content(codes)
    if len(codes) < CLUSTER_FROM:
        cluster = None
    queries = [
        (rows, range(start, end), probed)
        for start, end, probed in LOOK_UPS
        for rows in _parts(np.flatnonzero(views[order] >= end), QUERIES if cluster is None else OF_A_TASK)
    ]
    if cluster is None:
        index = _Index(codes[order])
        found = [index.look_up(*query) for query in queries]
    else:
        found = list(_look_up_on(cluster, codes[order], queries, folder / ".hashes.npy"))
    first, second, view, alike = (np.concatenate(column) for column in zip(*found, strict=True))
    pairs = np.minimum(first, second) * len(codes) + np.maximum(first, second)
    best = np.lexsort((first, view, -alike, pairs))
    best = best[np.flatnonzero(np.diff(pairs[best], prepend=-1))]
    return Pairs(order[first[best]], order[second[best]], view[best])


def by_content(codes: np.ndarray) -> np.ndarray:
    """(N,) positions, sorted by a number made of all codes of an image: an order that does not depend on names."""
    numbers = np.zeros(len(codes), np.uint64)
    for column in codes.T:
        numbers = (numbers ^ column.view(np.uint8)) * np.uint64(0x100000001B3)  # FNV-1a
    return np.argsort(numbers, kind="stable")


def _parts(rows: np.ndarray, size: int = QUERIES) -> Iterator[np.ndarray]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _factors(view: View) -> np.ndarray:
    """(COEFFICIENTS, COEFFICIENTS) whole numbers in float32: codes times these are those of a view, in STEPS."""
    rows = _interpolation(view.top, view.bottom)
    columns = _interpolation(view.left, view.right)
    cells = (TRANSFORM / FREQUENCIES).T.reshape(-1, SIDE, SIDE)
    cropped = (rows @ cells @ columns.T).reshape(-1, SIDE * SIDE)
    factors = np.rint(times(cropped, TRANSFORM * FREQUENCIES) * STEPS).astype(np.float32)
    return factors * MIRROR if view.mirrored else factors


def _interpolation(start: float, end: float) -> np.ndarray:
    """(SIDE, SIDE) that takes the values of cells along a side to those without these shares of the side."""
    places = (start + (np.arange(SIDE) + 0.5) / SIDE * (1 - start - end)) * SIDE - 0.5
    return np.maximum(1 - np.abs(places[:, None] - np.arange(SIDE)), 0)


VIEWED = [_factors(view) for view in VIEWS]

Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""(P,) each: positions of an image and of a candidate, the view of the image, and how alike they are then."""


Query = tuple[np.ndarray, range, int]
"""The arguments of _Index.look_up."""


def _look_up_on(cluster: Executor, codes: np.ndarray, queries: list[Query], file: Path) -> Iterator[Found]:
    """Let others look up images; file: by which they get the codes."""
    with atomic_write(file) as stream:
        np.save(stream, codes)
    try:
        work = partial(_look_up, str(file), hashlib.sha256(codes.tobytes()).digest())
        for _, found in in_order(cluster, work, queries, ahead=len(queries)):
            yield found
    finally:
        file.unlink()


def _look_up(file: str, digest: bytes, query: Query) -> Found:
    """In the process of a worker; digest: of the codes in the file."""
    rows, views, probed = query
    index = _index(file, digest)
    found = [index.look_up(part, views, probed) for part in _parts(rows)]
    image, candidate, view, alike = (np.concatenate(column) for column in zip(*found, strict=True))
    return image, candidate, view, alike


@lru_cache(1)
def _index(file: str, digest: bytes) -> "_Index":
    return _Index(np.load(file))


class _Index:
    """Images in buckets, by the first bits of their hashes."""

    def __init__(self, codes: np.ndarray):
        self._codes = codes
        self._middles = np.median(codes[:, :BITS], axis=0).astype(np.float32) * (STEPS // 2)
        self._lengths = np.maximum(np.sqrt(_dot(codes, codes)), 1)
        parts = _parts(np.arange(len(codes)))
        all_bits = np.concatenate([_bits(codes[rows, :BITS] * np.float32(STEPS) - self._middles) for rows in parts])
        self._order = np.argsort(all_bits, kind="stable").astype(np.int32)
        self._bits = all_bits[self._order]
        self._key_bits = int(np.clip(len(codes).bit_length(), *BUCKET_BITS))
        sizes = np.bincount(self._key(self._bits), minlength=1 << self._key_bits)
        self._start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)

    def _key(self, bits: np.ndarray) -> np.ndarray:
        return (bits >> np.uint64(BITS - self._key_bits)).astype(np.int64)

    def look_up(self, rows: np.ndarray, views: Iterable[int], probed: int) -> Found:
        """The candidates of these images: of each, the KEPT that are most alike."""
        codes = self._codes[rows].astype(np.float32)
        found = [self._look_up_as(rows, times(codes, VIEWED[view]), view, probed) for view in views]
        image, candidate, view_, alike = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((view_, candidate, -alike, image))
        starts = np.flatnonzero(np.diff(image[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
        kept = order[rank < KEPT]
        return image[kept], candidate[kept], view_[kept], alike[kept]

    def _look_up_as(self, rows: np.ndarray, seen: np.ndarray, view: int, probed: int) -> Found:
        """seen: (Q, COEFFICIENTS) float32, codes of the images in this view, in STEPS."""
        deviations = seen[:, :BITS] - self._middles
        bits = _bits(deviations)
        flips = _flips(np.abs(deviations[:, : self._key_bits]), probed)
        filled, start, size = self._buckets((bits[:, None] ^ flips).ravel())
        query = np.repeat(filled // flips.shape[1], size)
        places = np.repeat(start - np.cumsum(size) + size, size) + np.arange(size.sum())
        near = np.bitwise_count(self._bits[places] ^ bits[query]) <= FARTHEST
        query, candidate = query[near], self._order[places[near]]
        other = candidate != rows[query]
        query, candidate = query[other], candidate[other]
        lengths = np.maximum(np.sqrt(np.square(seen).sum(axis=1, dtype=np.float64)), 1)
        alike = _dot(seen[query], self._codes[candidate]) / (lengths[query] * self._lengths[candidate])
        good = alike >= LEAST_ALIKE
        query = query[good]
        return rows[query], candidate[good].astype(np.int64), np.full(len(query), view), alike[good]

    def _buckets(self, probes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which of the probes find images; where these lie that are to be looked at, and how many they are.

        Of a large bucket these are some in a row: about where the probe itself would stand, if bits were random.
        """
        key = self._key(probes)
        start, end = self._start[key], self._start[key + 1]
        filled = np.flatnonzero(start != end)
        start, size = start[filled].astype(np.int64), (end - start)[filled].astype(np.int64)
        large = np.flatnonzero(size > NEIGHBOURS)
        rest = (probes[filled[large]] << np.uint64(self._key_bits)) >> np.uint64(BITS - 16)
        middle = size[large] * rest.astype(np.int64) >> 16
        start[large] += np.clip(middle - NEIGHBOURS // 2, 0, size[large] - NEIGHBOURS)
        size[large] = NEIGHBOURS
        return filled, start, size


def _bits(deviations: np.ndarray) -> np.ndarray:
    """(N,) uint64, the first of (N, BITS) signs as the highest bit."""
    return np.packbits(deviations > 0, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _flips(margins: np.ndarray, probed: int) -> np.ndarray:
    """(N, 2 ** probed) uint64: every combination of the bits with the smallest margins, no bit among them."""
    least = np.argpartition(margins, probed - 1, axis=1)[:, :probed]
    flips = np.zeros((len(margins), 1), np.uint64)
    for bit in (np.uint64(1) << (BITS - 1 - least).astype(np.uint64)).T:
        flips = np.hstack([flips, flips ^ bit[:, None]])
    return flips


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row."""
    return np.einsum("ij,ij->i", a, b, dtype=np.float64)
