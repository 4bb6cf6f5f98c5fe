"""Which images of one state of a dataset are which of another, and what is different about them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from formwork.images.manifest import SPLITS
from formwork.tools.diff.images import Classes, Coded, Images, encode

KINDS = ("added", "removed", "replaced", "relabelled", "moved", "renamed")


@dataclass(frozen=True)
class Changes:
    """Two states of a dataset, and P pairs: an image of the first, and what became of it in the second.

    An image is a content: a pair has the same content, or else the same path, and is then `replaced`. Each image is in
    one pair at most; those of the first in none are `removed`, those of the second in none `added`.

    Attributes:
        pairs: (P, 2) int64, row before and row after, sorted by row before.
        replaced: (P,) bool: same path, another content; label and split may differ, too.
        relabelled: (P,) bool: same content, another label, labels or number.
        moved: (P,) bool: same content, in another split.
        renamed: (P,) bool: same content, label and split at another path.
        added: rows after, removed: rows before; int64.
    """

    before: Images
    after: Images
    classes: Classes
    targets: tuple[np.ndarray, np.ndarray]
    pairs: np.ndarray
    replaced: np.ndarray
    relabelled: np.ndarray
    moved: np.ndarray
    renamed: np.ndarray
    added: np.ndarray
    removed: np.ndarray

    @cached_property
    def totals(self) -> dict[str, int]:
        """Images of each of KINDS."""
        return {
            "added": len(self.added),
            "removed": len(self.removed),
            **{kind: int(np.count_nonzero(getattr(self, kind))) for kind in KINDS[2:]},
        }

    @cached_property
    def touched(self) -> np.ndarray:
        """(P,) bool: pairs that are replaced, relabelled or moved."""
        return self.replaced | self.relabelled | self.moved

    @cached_property
    def by_class(self) -> dict[str, np.ndarray]:
        """(L,) int64 by name, for the labels of `classes`: images before and after, those of KINDS, and
        `relabelled_away`.

        A pair counts under the labels that it has after; relabelled ones under those that they gained, and as
        `relabelled_away` under those that they lost. An image with several labels counts under each.
        """
        before, after = self.targets
        rows_before, rows_after = self.pairs[:, 0], self.pairs[:, 1]
        counts = {"before": self.classes.count(before), "after": self.classes.count(after)}
        counts["added"] = self.classes.count(after[self.added])
        counts["removed"] = self.classes.count(before[self.removed])
        for kind in ("replaced", "moved", "renamed"):
            counts[kind] = self.classes.count(after[rows_after[getattr(self, kind)]])
        old, new = before[rows_before[self.relabelled]], after[rows_after[self.relabelled]]
        counts["relabelled"] = self.classes.count_gained(old, new)
        counts["relabelled_away"] = self.classes.count_gained(new, old)
        return counts

    def moves(self) -> list[tuple[str, str, int]]:
        """(split before, split after, images), the most frequent first."""
        rows = self.pairs[self.moved]
        sides = self.before.split[rows[:, 0]], self.after.split[rows[:, 1]]
        first, counts = _frequent(*sides)
        old, new = (side[first].tolist() for side in sides)
        return [(SPLITS[a], SPLITS[b], int(n)) for a, b, n in zip(old, new, counts, strict=True)]

    def relabellings(self, most: int) -> list[tuple[str, str, int]]:
        """(target before, target after, images), the most frequent first, at most so many."""
        rows = self.pairs[self.relabelled]
        first, counts = _frequent(self.targets[0][rows[:, 0]], self.targets[1][rows[:, 1]])
        examples = rows[first[:most]]
        old, new = self.before.targets_of(examples[:, 0]), self.after.targets_of(examples[:, 1])
        return [(a, b, int(n)) for a, b, n in zip(old, new, counts, strict=False)]


def compare(before: Images, after: Images) -> Changes:
    """What changed from one state to the other. A function of both alone: the same for any order of work."""
    first, second, classes = encode(before, after)
    pairs, same_content = match(first, second)
    rows_a, rows_b = pairs[:, 0], pairs[:, 1]
    relabelled = same_content & (first.target[rows_a] != second.target[rows_b])
    moved = same_content & (first.split[rows_a] != second.split[rows_b])
    renamed = same_content & ~relabelled & ~moved & (first.path[rows_a] != second.path[rows_b])
    return Changes(
        before,
        after,
        classes,
        (first.target, second.target),
        pairs,
        replaced=~same_content,
        relabelled=relabelled,
        moved=moved,
        renamed=renamed,
        added=np.delete(np.arange(len(after)), rows_b),
        removed=np.delete(np.arange(len(before)), rows_a),
    )


def match(a: Coded, b: Coded) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) int64 rows that belong together, sorted by the first; and (P,) bool, whether they have the same content.

    Where several files have the same content, those that agree in more are matched first: path; then label and split,
    label, split; and at last in the order of the rows. What is left is matched by path.
    """
    by_content = (("content", "path"), ("content", "target", "split"), ("content", "target"), ("content", "split"))
    left_a, left_b = np.arange(len(a.path)), np.arange(len(b.path))
    found, same_content = [], []
    for names in (*by_content, ("content",), ("path",)):
        keys_a, keys_b = _keys(a, b, names, left_a, left_b)
        in_a, in_b = _join(keys_a, keys_b)
        found.append(np.stack([left_a[in_a], left_b[in_b]], axis=1))
        same_content.append(np.full(len(in_a), "content" in names))
        left_a, left_b = np.delete(left_a, in_a), np.delete(left_b, in_b)
    pairs, same = np.concatenate(found), np.concatenate(same_content)
    order = np.argsort(pairs[:, 0])
    return pairs[order], same[order]


def _keys(a: Coded, b: Coded, names: tuple[str, ...], rows_a: np.ndarray, rows_b: np.ndarray) -> list[np.ndarray]:
    """int64 for each of these rows of either side, equal where all the columns are."""
    columns = [(getattr(a, name)[rows_a], getattr(b, name)[rows_b]) for name in names]
    keys = [np.zeros(len(rows), np.int64) for rows in (rows_a, rows_b)]
    for values in columns:
        size = max((int(side.max()) + 1 for side in values if len(side)), default=1)
        keys = [key * size + side for key, side in zip(keys, values, strict=True)]
    return keys


def _join(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of equal keys: the k-th occurrence of a key in `a`, and the k-th in `b`."""
    order_a, order_b = np.argsort(a, kind="stable"), np.argsort(b, kind="stable")
    sorted_a, sorted_b = a[order_a], b[order_b]
    start = np.searchsorted(sorted_b, sorted_a)  # where this key begins in b
    place = start + np.arange(len(a)) - np.searchsorted(sorted_a, sorted_a)
    inside = np.flatnonzero(place < len(b))
    inside = inside[sorted_b[place[inside]] == sorted_a[inside]]
    return order_a[inside], order_b[place[inside]]


def _frequent(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the pairs of codes (a[i], b[i]) that there are, the most frequent first: where each occurs first, and how
    often. Those that are equally frequent are in the order in which they occur."""
    _, first, counts = np.unique(a.astype(np.int64) << 32 | b, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    return first[order], counts[order]
