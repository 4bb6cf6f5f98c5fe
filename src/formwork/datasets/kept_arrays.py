"""Arrays that link keeps beside the manifests for its next run: no outputs for DVC, ignored by git, harmless to
delete."""

import zipfile
from pathlib import Path

import numpy as np

from formwork.files import atomic_write


def keep_arrays(path: Path, **arrays: np.ndarray | str) -> None:
    with atomic_write(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # a text is an array of one


def kept_arrays(path: Path, *names: str) -> tuple[np.ndarray, ...] | None:
    """The arrays of these names; None where nothing was kept, or the file is damaged."""
    try:
        with np.load(path) as stored:
            return tuple(stored[name] for name in names)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
