"""The tree of links: a manifest as a folder of symlinks in ImageFolder's layout, for the PyTorch loader and for people.

It is never an output for DVC, which would hash every image a second time, or turn the links into copies. It stands
beside the manifest and is rebuilt whenever it is missing or belongs to another version of the manifest.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from formwork import limits
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.files import write_text
from formwork.images.manifest import Manifest


def ensure_tree(manifest: Manifest, raw: Path) -> Path:
    """Make the tree of a manifest, <class>/<file> as relative links to files below `raw`, unless it is up to date.

    Processes that call this at the same time wait for the one that makes it.

    Returns:
        The tree's folder, <folder of the manifest>/<split>.

    Raises:
        DatasetError: raw images are missing, the user put files into the tree, or links cannot be made there.
    """
    tree, stamp = _tree_and_stamp(manifest)
    if not _is_up_to_date(manifest, raw):
        try:
            with open(manifest.path.with_name(f".{tree.name}.lock"), "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not _is_up_to_date(manifest, raw):  # else another process made it meanwhile
                    stamp.unlink(missing_ok=True)
                    _remove(tree)
                    _link(manifest, raw, tree)
                    write_text(stamp, _identity(manifest, raw))
        except OSError as error:
            raise DatasetError(
                f"{tree}, a tree of symlinks to {raw}, cannot be made: {error.strerror}. "
                f"{limits.advice(error)} Its file system must have symlinks."
            ) from error
    if manifest.rows and not (tree / manifest.rows[0].tree_path).exists():
        raise DatasetError(
            f"The original images {raw} are missing, and {tree} links to them. Run `dvc pull {raw}` or `dvc repro`."
        )
    return tree


def _is_up_to_date(manifest: Manifest, raw: Path) -> bool:
    """Whether the tree is there, complete, and made from this version of the manifest."""
    tree, stamp = _tree_and_stamp(manifest)
    try:
        return tree.is_dir() and stamp.read_text(encoding="utf-8") == _identity(manifest, raw)
    except FileNotFoundError:
        return False


def _users_files(tree: Path) -> Iterator[Path]:
    """Files in a tree of links that are no links: the user put them there."""
    for folder, _, files in os.walk(tree):
        yield from (Path(folder, name) for name in files if not os.path.islink(os.path.join(folder, name)))


def _tree_and_stamp(manifest: Manifest) -> tuple[Path, Path]:
    """The tree's folder, and the file that says which manifest it was made from, which is written last."""
    tree = manifest.path.with_suffix("")
    return tree, manifest.path.with_name(f".{tree.name}.tree")


def _identity(manifest: Manifest, raw: Path) -> str:
    """The content of the stamp: all that the tree depends on."""
    return f"{manifest.digest} {os.path.relpath(raw, manifest.path.with_suffix(''))}\n"


def _link(manifest: Manifest, raw: Path, tree: Path) -> None:
    """Make one relative link a row."""
    upward: dict[str, str] = {}  # path from a folder of the tree to `raw`, worked out once a folder
    for row in manifest.rows:
        folder = os.path.join(tree, os.path.dirname(row.tree_path))
        if folder not in upward:
            os.makedirs(folder, exist_ok=True)
            upward[folder] = os.path.relpath(raw, folder)
        os.symlink(os.path.join(upward[folder], row.path), os.path.join(tree, row.tree_path))


def _remove(tree: Path) -> None:
    """Remove a tree of links, but never a file of the user's."""
    if not tree.is_dir():
        return
    for path in _users_files(tree):
        raise DatasetError(
            f"{printable(path)} is a file of your own in a folder that is made anew from the manifest. Move it to "
            "data/raw, then try again."
        )
    shutil.rmtree(tree)
