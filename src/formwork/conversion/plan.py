"""Which parts a beton consists of: those of an earlier version that stay, and those that are written.

Measured with 1.28 M images in 256 parts: where parts are assigned by a hash, by class or by cuts in a sorted list, a
change of 1 % of the images at random touches every part. So what a part holds is history: images stay where they are,
new ones go into new parts, and what nobody needs any more stays until it is most of what is stored.
"""

from itertools import pairwise

import numpy as np

from formwork.beton.beton import Beton
from formwork.beton.provenance import TABLES

HOUSEKEEPING = 0.004
"""Share of the stored bytes that are copied into new parts, at most, when images are added: a change of 1 % writes at
most 1.5 %, and parts that are small or mostly dead do not grow in number for ever."""
MOSTLY = 1 / 2  # of a part that is dead: it is copied where there is room for that
TOO_MUCH = 2 / 3  # of all that is stored: parts are copied until less of it is dead


def kept_files(earlier: Beton, newest: int, live: np.ndarray, adds: bool, part_bytes: float) -> np.ndarray:
    """Which files of earlier versions stay as they are.

    Of the newest version these are all that hold anything which is needed, but for what is cleared away; of others
    those that hold little else.

    Args:
        newest: how many of the files, the first, are of the newest version.
        live: (N,) bool, the samples of `earlier` that are still needed.
        adds: whether anything is to be written anyway.

    Returns:
        (P,) bool, by file. Those of others that are live are to be copied.
    """
    files = len(earlier.files)
    sizes = earlier.sizes + TABLES
    stored, needed = np.bincount(earlier.file, sizes, files), np.bincount(earlier.file, sizes * live, files)
    dead = 1 - needed / stored
    kept = needed > 0
    kept[newest:] &= dead[newest:] <= MOSTLY
    room = HOUSEKEEPING * stored[kept].sum() if adds else 0.0
    small = np.flatnonzero(kept & (stored < part_bytes / 2))
    mostly_dead = np.flatnonzero(kept & (dead > MOSTLY) & (stored >= part_bytes / 2))
    for file in (*small[np.argsort(stored[small])], *mostly_dead[np.argsort(-dead[mostly_dead])]):
        if needed[file] <= room:
            room -= needed[file]
            kept[file] = False
    for file in np.argsort(-dead):
        total = stored[kept].sum()
        if not kept.any() or total - needed[kept].sum() <= TOO_MUCH * total:
            break
        kept[file] = False
    return kept


def cut(sizes: np.ndarray, part_bytes: float) -> list[slice]:
    """Cut images of these sizes into as few parts of about equal sizes as do not exceed part_bytes, or not by much.

    Args:
        sizes: (M,) bytes of each, in the order in which they are stored.
    """
    if not len(sizes):
        return []
    ends = np.cumsum(sizes)
    number = max(int(np.ceil(ends[-1] / part_bytes)), 1)
    part = np.minimum((ends - sizes / 2) * (number / ends[-1]), number - 1).astype(np.int64)
    starts = np.append(np.unique(part, return_index=True)[1], len(sizes)).tolist()
    return [slice(start, stop) for start, stop in pairwise(starts)]
