"""Near duplicates: images that are copies of others at sight, saved again, scaled, cropped a little or mirrored.

docs/near-duplicates.md says which copies are found, measured on photos.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from formwork.code import code_digest
from formwork.datasets.near_match import are_copies, structure
from formwork.datasets.near_search import ALL_CROPS, FEW_CROPS, UNCROPPED, find_pairs
from formwork.datasets.perceptual_hash import decode_hashes
from formwork.datasets.splits import FREE
from formwork.datasets.verify import Verification
from formwork.files import atomic_write

LEAST_STRUCTURE = 6  # frequencies above noise: a plain image is a copy of none
CROPPABLE, LARGE = 48, 192  # pixels of the shorter side, from which on some crops are looked for, and all
LARGEST_TINT = 0.2  # by which the shares of red, green and blue of copies may differ
DARK = 8  # grey levels added to each, as the shares of what is nearly black are chance
FIELDS = ["hash", "width", "height", "moments"]


def find_near_duplicates(verified: Verification, same: Sequence[Sequence[int]], cache: Path) -> np.ndarray:
    """(P, 2) int64 pairs of positions, ascending, of images that are copies of each other at sight.

    Args:
        same: groups of files with the same content, ascending: the first stands for all.
        cache: file that holds the result for the same images, and need not exist; harmless to delete.
    """
    first = verified.good.copy()
    first[[position for group in same for position in group[1:]]] = False
    positions = np.flatnonzero(first)
    images = verified.images[FIELDS][positions]
    key = _key(images)
    pairs = _cached(cache, key)
    if pairs is None:
        pairs = look_alike(images)
        with atomic_write(cache) as file:
            np.savez(file, key=key, pairs=pairs)
    return positions[pairs]


def look_alike(images: np.ndarray) -> np.ndarray:
    """(P, 2) int64 pairs of positions, ascending, of images that look alike.

    Args:
        images: (N,) with the fields in FIELDS.
    """
    codes, scales = decode_hashes(images["hash"])
    used = np.flatnonzero(structure(codes, scales) >= LEAST_STRUCTURE)
    images, codes, scales = images[used], codes[used], scales[used]
    side = np.minimum(images["width"], images["height"])
    views = np.select([side >= LARGE, side >= CROPPABLE], [ALL_CROPS, FEW_CROPS], UNCROPPED)
    pairs = find_pairs(codes, views)
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


def _cached(cache: Path, key: str) -> np.ndarray | None:
    try:
        with np.load(cache) as stored:
            return stored["pairs"] if str(stored["key"]) == key else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # there is none, or it is damaged


def clusters(pairs: np.ndarray, same: Sequence[Sequence[int]], images: int) -> np.ndarray:
    """(images,) int64: images that pairs connect, directly or through others, have the same number; FREE in no pair.

    Args:
        same: as for find_near_duplicates.
    """
    number = list(range(images))

    def root(image: int) -> int:
        while number[image] != image:
            number[image] = image = number[number[image]]
        return image

    for first, second in pairs.tolist():
        low, high = sorted((root(first), root(second)))
        number[high] = low
    result = np.full(images, FREE, np.int64)
    for image in np.unique(pairs).tolist():
        result[image] = root(image)
    for group in same:
        result[group] = result[group[0]]
    return result
