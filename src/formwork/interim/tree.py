"""The tree of links: a manifest as a folder of symlinks in ImageFolder's layout, for the PyTorch loader and for people.

It is never an output for DVC, which would hash every image a second time, or turn the links into copies. It stands
beside the manifest and follows it: links of changed rows are made anew, or all of them where the tree is missing,
damaged or half made.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from formwork import limits
from formwork.errors import DatasetError
from formwork.escapes import printable
from formwork.images.containers import is_there, row_of
from formwork.images.manifest import Manifest
from formwork.interim.tree_stamp import Links, Stamp, differences, links_of, read_stamp


def ensure_tree(manifest: Manifest, raw: Path) -> Path | None:
    """Make the tree of a manifest, <class>/<file> as relative links to files below `raw`, unless it is up to date.

    Processes that call this at the same time wait for the one that makes it.

    Returns:
        The tree's folder, <folder of the manifest>/<split>; None where all images lie in containers, to which no link
        can lead. The tree has the others alone.

    Raises:
        DatasetError: raw images are missing, the user put files into the tree, or links cannot be made there.
    """
    tree = manifest.path.with_suffix("")
    stamp = manifest.path.with_name(f".{tree.name}.tree")
    first = int(manifest.loose[0]) if len(manifest.loose) else 0
    of_file = row_of(manifest.paths[first]) if len(manifest) else None
    if len(manifest) and (not len(manifest.loose) or (of_file and not (raw / of_file[0]).is_dir())):
        stamp.unlink(missing_ok=True)
        _remove(tree)
        if not is_there(raw, manifest.paths[0]):
            raise DatasetError(f"The original images {raw} are missing. Run `dvc pull {raw}` or `dvc repro`.")
        return None
    upward = os.path.relpath(raw, tree)
    try:
        if not _is_up_to_date(tree, read_stamp(stamp), manifest, upward):
            with open(manifest.path.with_name(f".{tree.name}.lock"), "wb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                made = read_stamp(stamp)
                if not _is_up_to_date(tree, made, manifest, upward):  # else another process made it meanwhile
                    _follow(tree, stamp, made, manifest, upward)
    except OSError as error:
        if not _is_whole(tree, links_of(manifest), upward):  # as a copy is, on a disk that cannot be written
            raise DatasetError(
                f"{tree}, a tree of symlinks to {raw}, cannot be made: {error.strerror}. "
                f"{limits.advice(error)} Its file system must have symlinks."
            ) from error
    if len(manifest) and not (tree / tree_path(manifest, first)).exists():
        raise DatasetError(
            f"The original images {raw} are missing, and {tree} links to them. Run `dvc pull {raw}` or `dvc repro`."
        )
    return tree


def tree_path(manifest: Manifest, sample: int) -> str:
    """Path of an image in the tree of its split."""
    if manifest.columns.from_table:
        return manifest.paths[sample]
    return _place(manifest.paths[sample], manifest.texts("class_name")[sample])


def _place(path: str, class_name: str) -> str:
    """<class>/<file>, without the folders that the class folder lies in; the path where no class folder is in it."""
    if not class_name or path.startswith(f"{class_name}/"):
        return path
    _, found, rest = path.partition(f"/{class_name}/")
    return f"{class_name}/{rest}" if found else path


def _is_up_to_date(tree: Path, made: Stamp | None, manifest: Manifest, upward: str) -> bool:
    """Whether the tree was made from this version of the manifest, and no file came or went since."""
    return made is not None and (made.digest, made.raw) == (manifest.digest, upward) and _is_untouched(tree, made)


def _is_untouched(tree: Path, made: Stamp) -> bool:
    return _times(tree, made.folders) == made.folders


def _times(tree: Path, folders: Iterable[str]) -> dict[str, int] | None:
    """When something was last added to, or removed from, each folder, in ns; None where one is missing."""
    try:
        return {folder: os.stat(os.path.join(tree, folder)).st_mtime_ns for folder in folders}
    except (FileNotFoundError, NotADirectoryError):
        return None


def _follow(tree: Path, stamp: Path, made: Stamp | None, manifest: Manifest, upward: str) -> None:
    """Bring the tree to the state of the manifest. The stamp is away while it is in between."""
    links = links_of(manifest)
    folders: set[str] | None = None
    if made is not None and made.raw == upward and (before := made.links()) is not None:
        changed = made.digest != manifest.digest
        users = [] if _is_untouched(tree, made) else list(_users_files(tree))
        if changed and users:
            raise _own(users[0])
        if _is_untouched(tree, made) or _is_whole(tree, before, upward):
            if users:
                return  # looked through again the next time: so they are named once the tree has to change
            stamp.unlink()
            folders = _change(tree, made, *differences(before, links), upward)
    if folders is None:
        stamp.unlink(missing_ok=True)
        _remove(tree)
        folders = _link(tree, links, upward)
    times = _times(tree, folders)
    if times is not None:
        Stamp(manifest.digest, upward, times).write(stamp, links)


def _is_whole(tree: Path, links: Links, upward: str) -> bool:
    """Whether these are the links in a tree, and there are no others, and no empty folder: it would be a class."""
    found: dict[str, str] = {}
    for folder, subfolders, files in os.walk(tree):
        if not subfolders and not files:
            return False
        paths = [f"{folder}/{name}" for name in (*subfolders, *files)]
        found |= {os.path.relpath(path, tree): os.readlink(path) for path in paths if os.path.islink(path)}
    return found == dict(_targets(links, upward))


def _targets(links: Links, upward: str) -> Iterator[tuple[str, str]]:
    """Each link: its path in the tree, and what is written in it."""
    above: dict[str, str] = {}  # path from a folder of the tree to the raw images, by folder
    for path, class_name in links:
        place = _place(path, class_name)
        folder = place[: place.rfind("/") + 1]
        if folder not in above:
            above[folder] = "../" * folder.count("/") + upward
        yield place, f"{above[folder]}/{path}"


def _change(tree: Path, made: Stamp, gone: Links, added: Links, upward: str) -> set[str] | None:
    """Remove and make some links.

    Returns:
        The folders of the tree; None where it is not what its stamp says.
    """
    folders = set(made.folders)
    try:
        for place, _ in _targets(gone, upward):
            link = os.path.join(tree, place)
            if not os.path.islink(link):
                raise _own(Path(link)) if os.path.exists(link) else FileNotFoundError
            os.unlink(link)
        left = {os.path.dirname(place) for place, _ in _targets(gone, upward)}
        for folder in sorted(left, key=len, reverse=True):
            while folder and _remove_empty(os.path.join(tree, folder)):
                folders.discard(folder)
                folder = os.path.dirname(folder)
        return folders | _link(tree, added, upward)
    except (FileNotFoundError, FileExistsError, NotADirectoryError):
        return None


def _remove_empty(folder: str) -> bool:
    """Remove a folder if nothing is in it."""
    try:
        os.rmdir(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _link(tree: Path, links: Links, upward: str) -> set[str]:
    """Make some links.

    Returns:
        The folders that they are in, with those above; "" is the tree itself.
    """
    os.makedirs(tree, exist_ok=True)
    folders = {""}
    for place, target in _targets(links, upward):
        folder = os.path.dirname(place)
        if folder not in folders:
            os.makedirs(os.path.join(tree, folder), exist_ok=True)
            while folder:
                folders.add(folder)
                folder = os.path.dirname(folder)
        os.symlink(target, f"{tree}/{place}")
    return folders


def _users_files(tree: Path) -> Iterator[Path]:
    """Files in a tree of links that are no links: the user put them there."""
    for folder, _, files in os.walk(tree):
        yield from (Path(folder, name) for name in files if not os.path.islink(os.path.join(folder, name)))


def _own(path: Path) -> DatasetError:
    return DatasetError(
        f"{printable(path)} is a file of your own in a folder that is made anew from the manifest. Move it to "
        "data/raw, then try again."
    )


def _remove(tree: Path) -> None:
    """Remove a tree of links, but never a file of the user's."""
    if not tree.is_dir():
        return
    for path in _users_files(tree):
        raise _own(path)
    shutil.rmtree(tree)
