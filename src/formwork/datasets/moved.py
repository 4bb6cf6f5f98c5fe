"""Which images are in another split than when link last ran, so that it can name them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from formwork.datasets.kept_arrays import keep_arrays, kept_arrays
from formwork.escapes import printable
from formwork.images.manifest import SPLITS, digest_starts
from formwork.params.sections import Split
from formwork.text import count

SPLITS_FILE = ".splits.npz"
LISTED = 10  # images in a message


def name_moved(
    path: Path, split: Split, paths: Sequence[str], sha256: np.ndarray, splits: np.ndarray, used: np.ndarray
) -> str | None:
    """A line that names the images which are in another split than at the last call with these params, if any; and
    remember their splits for the next call.

    Args:
        path: of the file to remember them in; see formwork.datasets.kept_arrays.
        paths, sha256, splits: of N files, as in formwork.datasets.splits.share_out.
        used: positions of those that are images of the dataset.
    """
    sha256, splits = sha256[used], splits[used]
    contents = digest_starts(sha256)
    settings = np.frombuffer(split.model_dump_json().encode(), np.uint8)
    before = _read(path)
    keep_arrays(path, settings=settings, contents=contents, splits=splits)
    if before is None or not np.array_equal(before[0], settings):
        return None
    _, known, their_splits = before
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], contents), max(len(known) - 1, 0))
    if not len(known):
        return None
    there = known[order][place] == contents
    was = their_splits[order][place]
    moved = np.flatnonzero(there & (was != splits))
    if not len(moved):
        return None
    listed = [
        f"{printable(paths[used[image]])} ({SPLITS[was[image]]} to {SPLITS[splits[image]]})"
        for image in moved[:LISTED].tolist()
    ]
    more = [f"and {len(moved) - LISTED:,} more"] if len(moved) > LISTED else []
    return f"{count(len(moved), 'image')} moved to another split: {', '.join([*listed, *more])}."


def _read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """What was remembered; None where nothing was, or the file is damaged."""
    found = kept_arrays(path, "settings", "contents", "splits")
    if found is None:
        return None
    settings, contents, splits = found
    whole = contents.shape == splits.shape and contents.dtype == np.uint64 and splits.dtype == np.int8
    return (
        (settings, contents, splits) if whole and set(np.unique(splits).tolist()) <= set(range(len(SPLITS))) else None
    )
