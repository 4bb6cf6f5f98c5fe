"""Which image is in which split: a pure function of the images and of `data.split` in params.yaml.

Images that must stay together, as files of equal content and images of one group do, are a **unit**. Each unit has a
position from 0 to 1, by a hash of its content (or path, or group) alone. Along it, the test images are those at the
lower end and the validation images those at the upper one, so that the share of one moves nothing in the other. Each
class is cut on its own, by the images that it holds, and never by its name:

- A **small class** is cut so that each split has its share of the images, rounded. One more image shifts a cut by one
  image at most: at most one other image crosses the border of `test`, and one that of `val`. (With shares of 0.1 and
  0.2, both do in about 4 % of all additions; no rule that gives three splits their shares does quite without.)
- A **large class** is cut at the shares themselves: a position below 0.1 is a test image. No image ever moves.

The line between them: cut at the share itself, `n` images give a binomial number, with a standard deviation of
sqrt((1 - f) / (f n)) of the share `f`. Up to where that is a tenth, n = 100 (1 - f) / f (400 images at 0.2, 900 at
0.1), a class is small. From there on the cut may deviate from the share, by the more the larger the class is, and
still moves one image at most; at about twice as many images it may deviate by six standard deviations, and so does not
move again. A jump from one rule to the other would move many images at once.

A unit counts as many images as it has different contents: one more copy of an image moves nothing.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from formwork.images.manifest import SPLITS, path_bytes
from formwork.params.sections import Split

TRAIN, VAL, TEST = (SPLITS.index(split) for split in ("train", "val", "test"))
FREE = -1  # in no split yet; in no group
SPREAD = 0.1  # standard deviation of a split's number of images, as a part of it, up to which a class is small
ROUNDING = 1e-9  # by which a product of a fraction and a number may miss a whole number


def share_out(
    sha256: np.ndarray,
    paths: Sequence[str],
    split: Split,
    *,
    classes: np.ndarray | None = None,
    groups: Sequence[str] | None = None,
    together: Iterable[np.ndarray] = (),
    fixed: np.ndarray | None = None,
) -> np.ndarray:
    """The split of each image: (N,) int8, a position in SPLITS.

    Args:
        sha256: (N, 32) uint8, of each file.
        paths: relative to the dataset; they count for `by: path` alone.
        split: the section of params.yaml; its shares are of the images that have no split yet.
        classes: (N,) integers, the class of each image, in any numbering; None: all images are cut as one class.
        groups: of each image, "" for none. A group's images stay together, and its position is by its name.
        together: (N,) integers each; images with the same number, other than FREE, stay together, too.
        fixed: (N,) the split of each image that has one already, which it keeps, and FREE. Images that must stay
            together with such ones go to their split: to test before val before train. With `split.folds`, only images
            in test keep theirs.
    """
    fixed = np.full(len(sha256), FREE, np.int8) if fixed is None else fixed.astype(np.int8)
    if split.folds is not None:
        fixed = np.where(fixed == TEST, fixed, np.int8(FREE))
    if not (fixed == FREE).any():
        return fixed
    rows = np.ascontiguousarray(sha256)
    content, _ = _numbered(pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(rows), [None, pa.py_buffer(rows)]))
    first = np.unique(content, return_index=True)[1]  # image of each content
    group, names = np.full(len(rows), FREE), []
    if groups is not None:
        group, different = _numbered(pa.array([path_bytes(name) or None for name in groups], pa.binary()))
        names = different.to_pylist()
    units = _units(content, [numbers for numbers in (group, *together) if (numbers != FREE).any()])
    if split.by == "path":
        hashes, of_image = _hashes(b"split path\0", map(path_bytes, paths)), np.arange(len(rows))
    else:
        hashes, of_image = _hashes(b"split content\0", rows[first].view("V32")[:, 0].tolist()), content
    if units is content and of_image is content:
        positions = _positions(hashes)
    else:
        hashes = hashes[of_image]
        hashes[group != FREE] = _hashes(b"split group\0", names)[group[group != FREE]]
        positions = _positions(_lowest(hashes, units))

    split_of_unit = np.full(units.max() + 1, FREE, np.int8)
    np.maximum.at(split_of_unit, units, fixed)
    sizes = np.bincount(units[first], minlength=len(split_of_unit))
    strata = np.zeros(len(split_of_unit), np.int64) if classes is None else _strata(units, classes, sizes)
    free = np.flatnonzero(split_of_unit == FREE)
    free = free[np.lexsort((positions[free], strata[free]))]
    split_of_unit[free] = _cut(positions[free], sizes[free], strata[free], split)
    return np.where(fixed == FREE, split_of_unit[units], fixed)


# --- Units ----------------------------------------------------------------------------------------


def _numbered(values: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """(N,) int64, the same number for the same value, FREE where it is null; and the values by number."""
    encoded = values.dictionary_encode()
    return encoded.indices.fill_null(FREE).to_numpy(zero_copy_only=False).astype(np.int64), encoded.dictionary


def _hashes(salt: bytes, values: Iterable[bytes]) -> np.ndarray:
    """(values, 2) uint64: the first 16 bytes of the SHA-256 of each, after a salt. A salt, as datasets are chosen and
    stored by plain hashes, too: of a folder "00" of such a store, all images would be in the test split."""
    digests = b"".join(hashlib.sha256(salt + value).digest()[:16] for value in values)
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2)


def _units(content: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) the unit of each image, from 0: images are in one if they are connected by equal numbers."""
    if not others:
        return content
    nodes = len(content)  # one for each image, and one for each content, group and so on
    starts, ends = [], []
    for numbers in (content, *others):
        known = np.flatnonzero(numbers != FREE)
        starts.append(known)
        ends.append(numbers[known] + nodes)
        nodes += int(numbers.max()) + 1
    found = connected(nodes, np.concatenate(starts), np.concatenate(ends))
    return np.unique(found[: len(content)], return_inverse=True)[1]


def connected(nodes: int, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """(nodes,) the same number for nodes that edges connect, directly or through others.

    Args:
        starts, ends: of each edge, nodes from 0.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(starts), np.int8), (starts, ends)), (nodes, nodes))
    return connected_components(graph, directed=False)[1]


def _lowest(hashes: np.ndarray, units: np.ndarray) -> np.ndarray:
    """(units, 2) the hash of each unit: that of its images whose first half is lowest."""
    order = np.lexsort((hashes[:, 1], hashes[:, 0], units))
    return hashes[order[np.flatnonzero(np.diff(units[order], prepend=-1))]]


def _positions(hashes: np.ndarray) -> np.ndarray:
    """(units,) float64 in [0, 1), of the second half of their hashes: the first is low where a unit has many images."""
    return (hashes[:, 1] >> np.uint64(11)) * 2.0**-53


def _strata(units: np.ndarray, classes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(units,) the class that most images of a unit have.

    Where two have as many, groups are a stratum of their own; copies of one image, whose label nobody knows, are FREE:
    so they move no others.
    """
    labels = np.unique(classes, return_inverse=True)[1]
    pairs, images = np.unique(units * (labels.max() + 1) + labels, return_counts=True)
    owners, candidates = np.divmod(pairs, labels.max() + 1)
    order = np.lexsort((-images, owners))
    owners, candidates, images = owners[order], candidates[order], images[order]
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    second = np.minimum(first + 1, len(owners) - 1)
    tie = (second != first) & (owners[second] == owners[first]) & (images[second] == images[first])
    return np.where(tie, np.where(sizes == 1, FREE, labels.max() + 1), candidates[first])


# --- Cuts -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Strata:
    """Units, sorted by stratum, then position.

    Attributes:
        positions, sizes: (U,) of each unit; sizes in images.
        before: (U + 1,) the number of images in the units before.
        start, end: (S,) where the units of each stratum lie.
    """

    positions: np.ndarray
    sizes: np.ndarray
    before: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def below(self, limit: float) -> np.ndarray:
        """(S,) the images at positions below a limit."""
        return np.add.reduceat(np.where(self.positions < limit, self.sizes, 0), self.start)

    def unit_at(self, images: np.ndarray) -> np.ndarray:
        """(S,) the unit that comes after so many images of each stratum, as nearly as whole units allow."""
        wanted = self.before[self.start] + images
        after = np.searchsorted(self.before, wanted)
        nearer = wanted - self.before[np.maximum(after - 1, 0)] < self.before[after] - wanted
        return np.clip(after - nearer, self.start, self.end)


def _cut(positions: np.ndarray, sizes: np.ndarray, strata: np.ndarray, split: Split) -> np.ndarray:
    """(U,) int8: the split of each unit; they are sorted by stratum, then position.

    Units of the stratum FREE are cut at the shares themselves, as those of a large class. Of each other stratum, one
    unit at least is in train.
    """
    lower, upper = 1 - split.val, 1.0
    if split.folds is not None:
        lower, upper = _limit(split, split.fold), _limit(split, split.fold + 1)
    found = np.where(positions < split.test, TEST, TRAIN).astype(np.int8)
    found[(positions >= lower) & (positions < upper) & (found == TRAIN)] = VAL
    mixed = int(np.searchsorted(strata, 0))  # FREE comes first
    if mixed == len(strata):
        return found
    positions, sizes, strata = positions[mixed:], sizes[mixed:], strata[mixed:]
    start = np.flatnonzero(np.diff(strata, prepend=FREE))
    end = np.append(start[1:], len(strata))
    arranged = _Strata(positions, sizes, np.concatenate([[0], np.cumsum(sizes)]), start, end)
    images = arranged.before[end] - arranged.before[start]
    # Units of several images make numbers vary as if there were fewer of them.
    effective = images**2 / np.add.reduceat(sizes**2, start)

    to_test = _number(arranged.below(split.test), split.test, images, effective)
    test = np.minimum(arranged.unit_at(to_test), end - 1)
    if split.folds is None:
        natural = images - arranged.below(lower)
        first, last = arranged.unit_at(images - _number(natural, split.val, images, effective)), end
        first = np.maximum(first, test + 1)
    else:
        first, last = _fold(arranged, test, effective, split)
    number = np.arange(len(strata))
    units = end - start
    is_test = number < np.repeat(test, units)
    is_val = (number >= np.repeat(first, units)) & (number < np.repeat(last, units))
    found[mixed:] = np.where(is_test, TEST, np.where(is_val, VAL, TRAIN))
    return found


def _fold(arranged: _Strata, test: np.ndarray, effective: np.ndarray, split: Split) -> tuple[np.ndarray, np.ndarray]:
    """(S,) twice: the first unit of a fold, and the one after its last. What follows the test images is cut into
    `folds` parts of equal shares, each rounded up or down; a fold is never all that a stratum has."""
    assert split.folds is not None
    skipped = arranged.before[test] - arranged.before[arranged.start]
    images = arranged.before[arranged.end] - arranged.before[test]
    share, slack = images / split.folds, _slack(1 / split.folds, images, effective)
    fewest, most = np.maximum(_down(share - slack), 0), _up(share + slack)
    begin = cut = np.zeros_like(images)
    for part in range(1, split.fold + 2):
        left = split.folds - part
        low = np.maximum(cut + fewest, images - left * most)
        high = np.minimum(cut + most, images - left * fewest)
        begin, cut = cut, np.clip(arranged.below(_limit(split, part)) - skipped, low, high)
    first, last = (np.maximum(arranged.unit_at(skipped + number), test) for number in (begin, cut))
    return first, np.where((first == test) & (last == arranged.end), last - 1, last)


def _limit(split: Split, part: int) -> float:
    """The position at which a fold of a large class begins, or, for the number of all folds, 1."""
    assert split.folds is not None
    return 1.0 if part == split.folds else split.test + (1 - split.test) * part / split.folds


def _number(natural: np.ndarray, share: float, images: np.ndarray, effective: np.ndarray) -> np.ndarray:
    """(S,) how many images a split gets: their share, rounded; where that is none, one is allowed, so that a thousand
    classes of two images do not all go without; and of large classes, what lies at its positions."""
    slack = _slack(share, images, effective)
    exact = share * images + 0.5
    return np.clip(natural, _down(exact - slack), np.maximum(_down(exact + slack), 1))


def _slack(share: float, images: np.ndarray, effective: np.ndarray) -> np.ndarray:
    """(S,) by how many images a split may deviate from its share; see the top of this module. It grows so slowly that
    one image more changes neither limit by more than one.

    Args:
        effective: number of units of equal size of which the number in a split varies as much.
    """
    smaller = max(min(share, 1 - share), ROUNDING)
    line = (1 - smaller) / smaller / SPREAD**2
    return np.maximum(0, share * (1 - share) * images * (1 - line / effective))


def _down(values: np.ndarray) -> np.ndarray:
    return np.floor(values + ROUNDING).astype(np.int64)


def _up(values: np.ndarray) -> np.ndarray:
    return np.ceil(values - ROUNDING).astype(np.int64)
