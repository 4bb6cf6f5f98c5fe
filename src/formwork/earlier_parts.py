"""The files of earlier versions of a folder of parts, from which `convert` makes the next one.

DVC deletes the folder before the stage runs. What was in it is found again

1. in .<split>.parts beside it: hard links to the workspace's own files, which `link` makes as its last act. `convert`
   puts them back by their names, with the same inode and time, so that DVC neither reads nor stores them again;
2. in DVC's cache, by the digests in dvc.lock: that of the workspace, which has the old outputs while the stage runs,
   and those of the last commits, of both sides of a merge. They become links where DVC makes links, and copies else.

What is missing or damaged costs time, and nothing else.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.files import writing
from formwork.git import git, read_files
from formwork.yaml import parse_yaml

REPACK = "FORMWORK_REPACK"  # in the environment, 1: share nothing with an earlier version but bytes of images
WORTH_REPACKING = 0.2  # share of the bytes that no image needs any more
COMMITS = 10  # the newest that changed dvc.lock
LOCK = "dvc.lock"
FOLDER = re.compile(r"[0-9a-f]{32}\.dir")  # what DVC calls the content of a folder


@dataclass(frozen=True)
class Version:
    """An earlier version of a folder.

    Attributes:
        files: where each lies, by its name in the folder.
        ways: DVC's ways of linking a file of its cache into the workspace, the first that works first; ("hardlink",)
            for files that are this workspace's own.
    """

    files: Mapping[str, Path]
    ways: tuple[str, ...] = ("hardlink",)

    def place(self, name: str, target: Path) -> None:
        """Have a file at `target`, where nothing is, without writing its bytes wherever that can be.

        Raises:
            FormworkError: the system refuses it.
        """
        source = self.files[name]
        with writing(target):
            for way in self.ways:
                if way == "symlink":
                    target.symlink_to(source)
                    return
                if way == "hardlink" and _hardlink(source, target):
                    return
            _copy(source, target)


def earlier_versions(folder: Path, repository: Path = Path()) -> Iterator[Version]:
    """The versions of data/processed/<name>/<split>.beton that can be found, the newest first.

    Each is looked for when it is asked for.

    Args:
        folder: relative to the repository; of any other folder there is what is in it, and no history.
    """
    for own in (repository / folder, kept_folder(repository / folder)):  # the first is there where DVC is not
        if own.is_dir():
            yield Version({path.name: path for path in sorted(own.iterdir()) if path.is_file()})
    cache = None if folder.is_absolute() else _find_cache(repository)
    seen: set[str | None] = set()
    for lock in _locks(repository) if cache else ():
        digest = _digest(lock, folder.as_posix())
        if cache and digest and digest not in seen and (files := cache.folder(digest)):
            yield Version(files, cache.ways)
        seen.add(digest)


# --- Kept by link -------------------------------------------------------------------------------


def kept_folder(folder: Path) -> Path:
    return folder.with_name(f".{folder.stem}.parts")


def keep_outdated(folder: Path, images: Path) -> None:
    """Keep the parts of a beton whose images have changed, as `convert` runs next and DVC deletes them.

    Args:
        folder: data/processed/<name>/<split>.beton, with <split>.json beside it.
        images: data/interim/<name>/<split>.images.json, as `link` has written it.
    """
    meaning = folder.with_suffix(".json")
    if not meaning.is_file():
        return  # `convert` did not come to its end: what was kept for it is still needed
    if _value(meaning, "manifest") == _value(images, "sha256"):
        forget(folder)
    else:
        keep(folder)


def keep(folder: Path) -> None:
    """Make hard links of the files in a folder of parts, so that they outlive it.

    Links into DVC's cache are left out: what they lead to stays.
    """
    forget(folder)
    kept = kept_folder(folder)
    try:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
                kept.mkdir(exist_ok=True)
                if not _hardlink(path, kept / path.name):
                    break
    except OSError as error:
        print(f"The parts of {folder} are not kept for the next conversion: {error.strerror}.")


def forget(folder: Path) -> None:
    """Remove what `keep` has made: what `place` has put into the folder is then a file of its own again."""
    kept = kept_folder(folder)
    try:
        if kept.is_dir():
            shutil.rmtree(kept)
    except OSError as error:
        print(f"{kept} is of no use any more, and cannot be removed: {error.strerror}. Remove it.")


def _value(path: Path, key: str) -> object:
    """A value of a JSON file; an object that equals no other where there is none."""
    try:
        return json.loads(path.read_bytes())[key]
    except (OSError, ValueError, KeyError, TypeError):
        return object()


# --- In DVC's cache -----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cache:
    """DVC's cache; see Version for `ways`."""

    path: Path
    ways: tuple[str, ...]

    def file(self, md5: str) -> Path:
        return self.path / "files/md5" / md5[:2] / md5[2:]

    def folder(self, digest: str) -> dict[str, Path]:
        """The files of a folder by their names, those that are there."""
        path = self.file(digest)
        try:
            files = {entry["relpath"]: self.file(entry["md5"]) for entry in json.loads(path.read_bytes())}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            print(f"Parts of an earlier version are not used: {path} cannot be read ({printable(str(error))}).")
            return {}
        return {name: file for name, file in files.items() if "/" not in name and file.is_file()}


def _find_cache(repository: Path) -> _Cache | None:
    """None where there is no DVC repository, or DVC does not say."""
    dvc = (repository / ".dvc").absolute()
    if not dvc.is_dir():
        return None
    try:
        from dvc.config import Config  # opening the repository would take twice as long

        config = Config(str(dvc))["cache"]
    except Exception as error:  # of whatever version of DVC
        print(f"Parts of earlier versions are not looked for in DVC's cache: {printable(str(error))}")
        return None
    return _Cache(Path(config.get("dir") or dvc / "cache"), tuple(config.get("type") or ()))


def _locks(repository: Path) -> Iterator[bytes]:
    """The contents of dvc.lock: in the workspace, and in the last commits that changed it, the newest first."""
    with suppress(OSError):
        yield (repository / LOCK).read_bytes()
    try:
        heads = ["HEAD", *(["MERGE_HEAD"] if _is_merging(repository) else [])]
        commits = git(repository, "rev-list", "--full-history", f"--max-count={COMMITS}", *heads, "--", LOCK)
        yield from filter(None, read_files(repository, [f"{commit}:{LOCK}" for commit in commits.decode().split()]))
    except FormworkError:
        return  # nothing was ever committed here, or there is no git


def _is_merging(repository: Path) -> bool:
    return (repository / os.fsdecode(git(repository, "rev-parse", "--git-path", "MERGE_HEAD").strip())).exists()


def _digest(lock: bytes, path: str) -> str | None:
    """What DVC calls the content of the folder `path`, by a dvc.lock; None where it does not say."""
    for section in re.split(rb"^(?=  \S)", lock, flags=re.MULTILINE):  # YAML is slow to read: this stage alone
        if f"- path: {path}\n".encode() not in section:
            continue
        try:
            (stage,) = parse_yaml(section, LOCK).values()
            found = {out["path"]: out["md5"] for out in stage["outs"]}
        except (FormworkError, AttributeError, KeyError, TypeError, ValueError):
            continue  # left by a merge, for example
        if FOLDER.fullmatch(str(found.get(path))):
            return found[path]
    return None


# --- Links and copies ---------------------------------------------------------------------------

NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS}
"""Another disk, too many links to a file, or a file system or an owner of the file that allows none."""


def _hardlink(source: Path, target: Path) -> bool:
    """Whether there can be one."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    """A file of its own, whose bytes both share where the file system can."""
    try:
        with source.open("rb") as read, target.open("wb") as written:
            while os.copy_file_range(read.fileno(), written.fileno(), 1 << 30):
                pass
    except (AttributeError, OSError):  # not on macOS, nor between all file systems
        shutil.copyfile(source, target)
