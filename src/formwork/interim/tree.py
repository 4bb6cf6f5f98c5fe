"""The interim tree: a view of a manifest as symlinks in ImageFolder's layout, for the PyTorch loader and for people.

It is never an out of DVC, which would hash every image a second time, or turn the links into copies. It is made
beside the manifest and rebuilt whenever it is missing or belongs to another version of the manifest.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from formwork.errors import DatasetError
from formwork.files import write_text
from formwork.images.manifest import Manifest


def ensure_tree(manifest: Manifest, raw: Path) -> Path:
    """Make <folder of the manifest>/<split>/<class>/<file>, relative links to files below `raw`, if it is not there.

    Returns:
        The tree's folder, <folder of the manifest>/<split>.

    Raises:
        DatasetError: raw images are missing.
    """
    tree, stamp = _places(manifest)
    if not shows(manifest, raw):
        with open(manifest.path.with_name(f".{tree.name}.lock"), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # others wait, and then find it made
            if not shows(manifest, raw):
                stamp.unlink(missing_ok=True)
                _remove(tree)
                _link(manifest, raw, tree)
                write_text(stamp, _identity(manifest, raw))
    if manifest.rows and not (tree / manifest.rows[0].tree_path).exists():
        raise DatasetError(
            f"The original images {raw} are missing, and {tree} links to them. Run `dvc pull {raw}` or `dvc repro`."
        )
    return tree


def shows(manifest: Manifest, raw: Path) -> bool:
    """Whether the tree of a manifest is there, and shows this version of it."""
    tree, stamp = _places(manifest)
    return tree.is_dir() and stamp.is_file() and stamp.read_text() == _identity(manifest, raw)


def own_files(tree: Path) -> Iterator[Path]:
    """Files in a tree of links that are none: their user put them there."""
    for folder, _, files in os.walk(tree):
        yield from (Path(folder, name) for name in files if not os.path.islink(os.path.join(folder, name)))


def _places(manifest: Manifest) -> tuple[Path, Path]:
    """The tree's folder, and the file that says which manifest it shows, which is written last."""
    tree = manifest.path.with_suffix("")
    return tree, manifest.path.with_name(f".{tree.name}.tree")


def _identity(manifest: Manifest, raw: Path) -> str:
    return f"{manifest.digest} {os.path.relpath(raw, manifest.path.with_suffix(''))}\n"


def _link(manifest: Manifest, raw: Path, tree: Path) -> None:
    """One relative link a row; what is the same for all links of a folder is worked out once."""
    upward: dict[str, str] = {}
    for row in manifest.rows:
        folder = os.path.join(tree, os.path.dirname(row.tree_path))
        if folder not in upward:
            os.makedirs(folder, exist_ok=True)
            upward[folder] = os.path.relpath(raw, folder)
        os.symlink(os.path.join(upward[folder], row.path), os.path.join(tree, row.tree_path))


def _remove(tree: Path) -> None:
    """Remove a tree of links. A file in it that is no link was put there by its user and is not ours to delete."""
    if not tree.is_dir():
        return
    for path in own_files(tree):
        raise DatasetError(
            f"{path} is a file of your own in a folder that is made anew from the manifest. Move it to data/raw, then "
            "try again."
        )
    shutil.rmtree(tree)
