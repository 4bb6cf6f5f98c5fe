"""Near duplicates: images that are copies of others at sight, saved again, scaled, cropped a little or mirrored.

docs/near-duplicates.md says which copies are found, measured on photos.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from formwork.code import code_digest
from formwork.datasets.kept_arrays import keep_arrays, kept_arrays
from formwork.datasets.near_match import are_copies, structure
from formwork.datasets.near_search import ALL_CROPS, FEW_CROPS, UNCROPPED, find_pairs
from formwork.datasets.perceptual_hash import decode_hashes
from formwork.datasets.splits import FREE, connected
from formwork.datasets.verify import Verification

LEAST_STRUCTURE = 6  # frequencies above noise: a plain image is a copy of none
CROPPABLE, LARGE = 48, 192  # pixels of the shorter side, from which on some crops are looked for, and all
LARGEST_TINT = 0.2  # by which the shares of red, green and blue of copies may differ
DARK = 8  # grey levels added to each, as the shares of what is nearly black are chance
FIELDS = ["hash", "width", "height", "moments"]


def find_near_duplicates(
    verified: Verification, same: Sequence[Sequence[int]], cache: Path, cluster: Executor | None = None
) -> np.ndarray:
    """(P, 2) int64 pairs of positions, ascending, of images that are copies of each other at sight.

    Args:
        same: groups of files with the same content, ascending: the first stands for all.
        cache: see formwork.datasets.kept_arrays; it holds the result for the same images, and need not exist.
        cluster: where many images are searched; see formwork.cluster.
    """
    first = verified.good.copy()
    first[[position for group in same for position in group[1:]]] = False
    positions = np.flatnonzero(first)
    images = verified.images[FIELDS][positions]
    key = _key(images)
    kept = kept_arrays(cache, "key", "pairs")
    if kept is not None and str(kept[0]) == key:
        return positions[kept[1]]
    pairs = look_alike(images, cluster, cache.parent)
    keep_arrays(cache, key=key, pairs=pairs)
    return positions[pairs]


def look_alike(images: np.ndarray, cluster: Executor | None = None, folder: Path = Path()) -> np.ndarray:
    """(P, 2) int64 pairs of positions, ascending, of images that look alike.

    Args:
        images: (N,) with the fields in FIELDS.
        cluster, folder: see formwork.datasets.near_search.find_pairs.
    """
    codes, scales = decode_hashes(images["hash"])
    used = np.flatnonzero(structure(codes, scales) >= LEAST_STRUCTURE)
    images, codes, scales = images[used], codes[used], scales[used]
    side = np.minimum(images["width"], images["height"])
    views = np.select([side >= LARGE, side >= CROPPABLE], [ALL_CROPS, FEW_CROPS], UNCROPPED)
    pairs = find_pairs(codes, views, cluster, folder)
    means = images["moments"][:, ::2] / (images["width"].astype(np.int64) * images["height"])[:, None] + DARK
    tints = means / means.sum(axis=1, keepdims=True)
    alike = np.flatnonzero(np.abs(tints[pairs.first] - tints[pairs.second]).max(axis=1, initial=0) <= LARGEST_TINT)
    pairs = type(pairs)(*(column[alike] for column in pairs))
    copies = are_copies(pairs, codes, scales, views)
    found = np.sort(np.stack([used[pairs.first[copies]], used[pairs.second[copies]]], axis=1), axis=1)
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def _key(images: np.ndarray) -> str:
    digest = hashlib.sha256(code_digest(("datasets",)).encode())
    for name in FIELDS:
        digest.update(np.ascontiguousarray(images[name]).tobytes())
    return digest.hexdigest()


def clusters(pairs: np.ndarray, same: Sequence[Sequence[int]], images: int) -> np.ndarray:
    """(images,) int64: images that pairs connect, directly or through others, have the same number; FREE in no pair.

    Args:
        same: as for find_near_duplicates.
    """
    number = connected(images, pairs[:, 0], pairs[:, 1])
    lowest = np.unique(number, return_index=True)[1]
    result, members = np.full(images, FREE, np.int64), np.unique(pairs)
    result[members] = lowest[number[members]]
    for group in same:
        result[group] = result[group[0]]
    return result
