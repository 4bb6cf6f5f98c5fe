"""What is reported of near duplicates, and which of them `data.on_near_duplicate: skip` leaves out."""

from collections.abc import Collection, Sequence

import numpy as np

from formwork.datasets.candidates import Candidate, Candidates
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
    kept = {group[0]: first_kept(candidates, group) for group in same}
    others: dict[int, list[int]] = {}
    for first, second in ((kept.get(a, a), kept.get(b, b)) for a, b in pairs.tolist()):
        if first in left_out or second in left_out:
            continue
        others.setdefault(first, []).append(second)
        others.setdefault(second, []).append(first)
    found: list[Finding] = []
    seen: set[int] = set()
    for position in sorted(others, key=lambda position: (-candidates.splits[position], position)):
        if position in seen:
            continue
        copies = sorted(other for other in others[position] if other not in seen)
        of_copies = _of_copies(candidates, position, copies)
        found += of_copies
        if len(of_copies) == len(copies):  # none of them on this image
            found += _of_kept(candidates, position, [other for other in others[position] if other in seen])
        seen.update([position, *copies])
    return found


def _of_copies(candidates: Candidates, kept: int, copies: Sequence[int]) -> list[Finding]:
    image = candidates[kept]
    conflicting = [copy for copy in copies if candidates[copy].class_name != image.class_name]
    if not conflicting:
        return [Finding(copy, _kind(image, candidates[copy]), "", image.path, True) for copy in copies]
    reason = "the copy has another label"
    found = [Finding(kept, CONFLICT, reason, candidates.paths[conflicting[0]], True)]
    return found + [Finding(copy, CONFLICT, reason, image.path, True) for copy in copies]


def _of_kept(candidates: Candidates, kept: int, before: Sequence[int]) -> list[Finding]:
    """On an image that is kept, though it looks like some that are copies of others: the gravest."""
    image = candidates[kept]
    kinds = [(NEAR_DUPLICATES.index(_kind(candidates[other], image)), other) for other in before]
    if not kinds:
        return []
    kind, other = min(kinds)
    return [Finding(kept, NEAR_DUPLICATES[kind], "", candidates.paths[other])]


def _kind(one: Candidate, other: Candidate) -> str:
    if one.class_name != other.class_name:
        return CONFLICT
    return DUPLICATE if one.split == other.split else LEAKAGE
