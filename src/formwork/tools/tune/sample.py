"""A sample of the images, and what the whole dataset would take on disk, judged from it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from formwork.beton import format as layout
from formwork.beton.beton import Beton
from formwork.beton.provenance import CHECKSUM
from formwork.conversion.sizes import scaled_sides
from formwork.images.manifest import path_bytes
from formwork.images.row import Row

PIXELS = 48e6  # of all images of the default sample together
FEWEST, MOST = 32, 4096  # its images
NORMAL_95 = 1.96  # standard errors either side of an estimate


def usual_number(rows: Sequence[Row]) -> int:
    """Images to sample where the user says nothing: few large ones, many small ones."""
    mean = np.mean([row.width * row.height for row in rows])
    return int(np.clip(PIXELS / mean, FEWEST, MOST))


def choose(rows: Sequence[Row], number: int, seed: int) -> list[Row]:
    """`number` of the rows, or all of them; each class with its share as nearly as can be. Always the same ones.

    Rows stand class after class, shuffled within it by a hash, and are taken at equal distances.
    """
    keys = {row.path: hashlib.sha256(f"tune {seed} ".encode() + path_bytes(row.path)).digest() for row in rows}
    order = sorted(rows, key=lambda row: (row.label, keys[row.path]))
    if number >= len(order):
        return order
    start = np.random.default_rng(seed).random()
    return [order[int((i + start) * len(order) / number)] for i in range(number)]


@dataclass(frozen=True)
class Size:
    """Bytes of all betons of a dataset together, and half the width of the interval that holds the true number in 95 of
    100 samples. Where all images are stored raw, or all as the files that they are, it follows from the manifest, but
    for the gaps between the pages of a beton."""

    estimate: float
    spread: float

    @property
    def most(self) -> float:
        return self.estimate + self.spread


class Images:
    """What a manifest says of N images, as arrays.

    Attributes:
        sides: (N, 2) int64, width and height. bytes: (N,) float64, of the files.
    """

    def __init__(self, rows: Sequence[Row]):
        self.sides = np.array([(row.width, row.height) for row in rows])
        self.bytes = np.array([row.bytes for row in rows], dtype=float)

    def __len__(self) -> int:
        return len(self.bytes)

    def raw_bytes(self, max_resolution: int | None) -> np.ndarray:
        """(N,) float64, what the pixels of each take where they are stored as they are."""
        sides = self.sides if max_resolution is None else scaled_sides(self.sides, max_resolution)
        return 3 * sides.prod(axis=1, dtype=float)


def extrapolate(beton: Beton, sampled: Images, images: Images, max_resolution: int | None, files: int = 2) -> Size:
    """The size of a dataset, from a beton of some of its images.

    What an image takes is judged by a regression on what the manifest says of it: the pixels that are stored, which
    decide it where they are stored raw, and the size of the file, which is it where files are stored as they are. The
    error is that of a regression estimator of a total (W. G. Cochran, Sampling Techniques, 1977, chapter 7).

    Args:
        sampled: those in the beton, in its order. images: of all splits.
        files: betons of the dataset, one a split.
    """
    whole, count = len(images), len(sampled)
    known, of_sample = (_known(some, max_resolution) for some in (images, sampled))
    unit = np.maximum(known.max(axis=0), 1)  # numbers of one size: the fit is exact where it should be
    fit, _, rank, _ = np.linalg.lstsq(of_sample / unit, beton.sizes.astype(float), rcond=None)
    errors = beton.sizes - of_sample / unit @ fit
    data = float((known / unit).sum(axis=0) @ fit + errors.mean() * whole)
    freedom = max(count - rank, 1)
    variance = (errors**2).sum() / freedom / count * (1 - count / whole)
    tables = layout.METADATA.itemsize + CHECKSUM.itemsize + layout.ALLOCATION.itemsize  # a row each for an image
    head = int(beton.offsets.min()) - count * (tables - layout.ALLOCATION.itemsize)
    gap = _gap(beton)
    edges = max(data / (beton.page_size - gap) - files / 2, 0)  # of pages; the last one of a file is half full or so
    # A gap is shorter than a sample: as if all lengths were equally frequent, of independent gaps.
    of_gaps = NORMAL_95 * beton.sizes.max() * np.sqrt(edges / 12)
    of_images = (NORMAL_95 + 2.4 / freedom) * whole * np.sqrt(variance)  # 2.4: as Student's t is for so many
    return Size(data + files * head + whole * tables + edges * gap, float(of_images + of_gaps))


def _gap(beton: Beton) -> float:
    """Bytes that are left free before the edge of a page, where the next sample does not fit, on average."""
    order = beton.storage_order
    page_size = beton.page_size
    pages, ends = beton.offsets[order] // page_size, (beton.offsets + beton.sizes)[order]
    last = np.flatnonzero(np.diff(pages))  # samples before an edge
    if len(last):
        return float(np.mean((pages[last] + 1) * page_size - ends[last]))
    return float((beton.sizes**2.0).sum() / beton.sizes.sum() / 2)  # half of the sample that lies across a random place


def _known(images: Images, max_resolution: int | None) -> np.ndarray:
    """(N, 3) float64: what is known of each image, and 1 for all."""
    return np.stack([images.raw_bytes(max_resolution), images.bytes, np.ones(len(images))], axis=1)
