"""The bootstrap: how far a metric might be off because just these images were drawn.

A metric is computed again on resamples, each as many images drawn with replacement; the middle 95 % of the values are
its interval (percentile method: B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
Images that are not independent, those of one group and copies of one file, are a unit, and units are drawn.
"""

from collections.abc import Iterator
from zlib import crc32

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from formwork.images.manifest import Manifest

LEVEL = 0.95
TAIL = round((1 - LEVEL) / 2, 12)
FEWEST_UNITS = 2  # of one alone, every resample is the same
BLOCK_VALUES = 1 << 21  # of a block of resamples, which then stays in the processor's cache
MOST_IN_BLOCK = 64


def units_of(manifest: Manifest) -> np.ndarray:
    """(N,) int64, from 0: the unit of each image."""
    count = len(manifest)
    content = np.unique(manifest.sha256, axis=0, return_inverse=True)[1].ravel()
    edges = [(np.arange(count), count + content)]
    if manifest.groups is not None:
        names, group = np.unique(np.array(list(manifest.groups)), return_inverse=True)
        named = np.flatnonzero(names[group] != "")
        edges.append((named, 2 * count + group[named]))
    images, others = map(np.concatenate, zip(*edges, strict=True))
    graph = coo_array((np.ones(len(images), bool), (images, others)), shape=(3 * count, 3 * count))
    parts = connected_components(graph, directed=False)[1][:count]
    return np.unique(parts, return_inverse=True)[1].astype(np.int64)


def draws(seed: int, purpose: str) -> np.random.Generator:
    """As formwork.loading.random_numbers.generator, whose import takes a second."""
    return np.random.Generator(np.random.Philox(key=seed << 32 | crc32(purpose.encode())))


def resamples(units: np.ndarray, number: int, seed: int, purpose: str) -> Iterator[np.ndarray]:
    """(N, R) float64: how often each image is in each of R resamples, `number` of them in blocks.

    Args:
        units: (N,) int64, from 0.
        purpose: what they are for; others are drawn for another purpose.
    """
    total = int(units.max()) + 1
    random = draws(seed, purpose)
    block = int(np.clip(BLOCK_VALUES // len(units), 1, MOST_IN_BLOCK))
    for start in range(0, number, block):
        size = min(block, number - start)
        drawn = [np.bincount(random.integers(0, total, total), minlength=total) for _ in range(size)]
        yield np.stack(drawn, axis=1)[units].astype(np.float64)


def interval(values: np.ndarray) -> np.ndarray:
    """(..., 2) float64: between which the middle LEVEL of (..., R) values lie; NaN where they have no spread, of which
    nothing follows, as where all images are right.

    Values that are not known, as of a class that is not in a resample, are NaN, and left out.
    """
    ends = TAIL, 1 - TAIL
    flat = values.reshape(-1, values.shape[-1])
    found = np.full((len(flat), 2), np.nan)
    known = ~np.isnan(flat).all(axis=1)
    whole = known & ~np.isnan(flat).any(axis=1)
    found[whole] = np.quantile(flat[whole], ends, axis=1).T
    for row in np.flatnonzero(known & ~whole):
        found[row] = np.nanquantile(flat[row], ends)
    found[found[:, 0] == found[:, 1]] = np.nan
    return found.reshape(*values.shape[:-1], 2)


def share_interval(intervals: np.ndarray, shares: np.ndarray, trials: np.ndarray) -> np.ndarray:
    """(..., 2): intervals of shares, with the exact one where it is all or none, which resamples tell nothing of.

    C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26, 1934.

    Args:
        intervals: (..., 2), from `interval`. shares: (...). trials: (...), number of units that each is a share of.
    """
    bound = TAIL ** (1 / np.maximum(trials, 1))
    ones, zeros = (np.stack(np.broadcast_arrays(*ends), axis=-1) for ends in ((bound, 1.0), (0.0, 1 - bound)))
    unknown = np.isnan(intervals[..., :1]) & (np.asarray(trials) > 0)[..., None]
    values = np.asarray(shares)[..., None]
    return np.where(unknown & (values == 1), ones, np.where(unknown & (values == 0), zeros, intervals))
