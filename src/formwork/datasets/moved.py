"""Which images are in another split than when link last ran, so that it can name them.

What it compares with is a file beside the manifests: no output for DVC, ignored by git, harmless to delete.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from formwork.escapes import printable
from formwork.files import atomic_write
from formwork.images.manifest import SPLITS
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
        path: of the file to remember them in.
        paths, sha256, splits: of N files, as in formwork.datasets.splits.share_out.
        used: positions of those that are images of the dataset.
    """
    sha256, splits = sha256[used], splits[used]
    contents = np.ascontiguousarray(sha256[:, :8]).view(np.uint64)[:, 0]  # of few files equal but by content
    settings = np.frombuffer(split.model_dump_json().encode(), np.uint8)
    before = _read(path)
    with atomic_write(path) as file:
        np.savez(file, settings=settings, contents=contents, splits=splits)
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
    try:
        with np.load(path, allow_pickle=False) as file:
            found = file["settings"], file["contents"], file["splits"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = found[1].shape == found[2].shape and found[1].dtype == np.uint64 and found[2].dtype == np.int8
    return found if whole and set(np.unique(found[2]).tolist()) <= set(range(len(SPLITS))) else None
