"""What is reported of near duplicates, and which of them `data.on_near_duplicate: skip` leaves out."""

from collections.abc import Collection, Sequence

import numpy as np

from formwork.datasets.candidates import Candidates
from formwork.datasets.findings import NEAR_DUPLICATES, Finding, first_kept

CONFLICT, LEAKAGE, DUPLICATE = NEAR_DUPLICATES


def near_findings(
    candidates: Candidates, pairs: np.ndarray, same: Sequence[Sequence[int]], left_out: Collection[int]
) -> list[Finding]:
    """A finding for each image that is a near duplicate of another, but for those that only others are copies of.

    Images are gone through from test to val to train, and by path. One that is a copy of none before it is kept, and
    all that look like it are its copies, and redundant. So nothing is trained on that looks like an image that a model
    is measured by, and whatever is left out looks like an image that is kept: of the frames of a film, where each looks
    like the next and none like the last, some are kept. Where a copy has another label than the image that is kept,
    none can be trusted: that image and all its copies are redundant.

    Args:
        pairs: (P, 2) positions of candidates that look alike, the first of each content.
        same: groups of files with the same content, ascending: the one that is kept of them stands for all.
        left_out: positions of files that are left out for another reason.
    """
    splits, classes = candidates.splits, candidates.classes
    images, starts, others = _neighbours(candidates, pairs, same, left_out)
    found: list[Finding] = []
    seen = np.zeros(len(candidates), bool)
    for place in np.lexsort((images, -splits[images].astype(np.int64))).tolist():
        image = images[place]
        if seen[image]:
            continue
        alike = others[starts[place] : starts[place + 1]]
        copies, before = alike[~seen[alike]], alike[seen[alike]]
        conflicting = copies[classes[copies] != classes[image]]
        path = candidates.paths[image]
        if len(conflicting):
            reason = "the copy has another label"
            found.append(Finding(int(image), CONFLICT, reason, candidates.paths[conflicting[0]], True))
            found += [Finding(copy, CONFLICT, reason, path, True) for copy in copies.tolist()]
        else:
            kinds = _kinds(candidates, image, copies)
            found += [
                Finding(copy, NEAR_DUPLICATES[kind], "", path, True)
                for copy, kind in zip(copies.tolist(), kinds.tolist(), strict=True)
            ]
            if len(before):  # it is kept, though it looks like copies of others: the gravest is reported
                kinds = _kinds(candidates, image, before)
                gravest = int(kinds.argmin())
                of = candidates.paths[before[gravest]]
                found.append(Finding(int(image), NEAR_DUPLICATES[kinds[gravest]], "", of))
        seen[image] = True
        seen[copies] = True
    return found


def _neighbours(
    candidates: Candidates, pairs: np.ndarray, same: Sequence[Sequence[int]], left_out: Collection[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(I,) positions of images that look like others, ascending; (I + 1,) where those that each looks like begin among
    (2 P,) positions, ascending for each image."""
    stands_for = np.arange(len(candidates))
    for group in same:
        stands_for[group[0]] = first_kept(candidates, group)
    used = np.ones(len(candidates), bool)
    used[list(left_out)] = False
    pairs = stands_for[pairs]
    pairs = pairs[used[pairs].all(axis=1)]
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    images, starts = np.unique(both[:, 0], return_index=True)
    return images, np.append(starts, len(both)), both[:, 1]


def _kinds(candidates: Candidates, image: int, others: np.ndarray) -> np.ndarray:
    """(N,) of each other image that looks like this one, the place in NEAR_DUPLICATES of what that is."""
    same_split = candidates.splits[others] == candidates.splits[image]
    kinds = np.where(same_split, NEAR_DUPLICATES.index(DUPLICATE), NEAR_DUPLICATES.index(LEAKAGE))
    return np.where(candidates.classes[others] == candidates.classes[image], kinds, NEAR_DUPLICATES.index(CONFLICT))
