"""Packing a folder of images into tars, which DVC hashes, caches and pushes as few files instead of many."""

import os
import re
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from formwork import limits
from formwork.datasets.folder_names import IMAGE_EXTENSIONS, extension, split_name
from formwork.datasets.tar_folders import is_tar
from formwork.errors import FormworkError
from formwork.escapes import printable, shell_word
from formwork.files import atomic_write, check_writable
from formwork.images.manifest import sorted_paths
from formwork.images.tars import TAR, TarFile
from formwork.litter import is_litter
from formwork.progress import progress
from formwork.text import count

SHARD = "shard"
NUMBERED = re.compile(r"(.+)-(\d{5})\.tar", re.DOTALL)


def pack(folder: Path, target: Path, shard_bytes: int) -> str:
    """Pack the files of a folder into tars `<target>/shard-00000.tar`, ..., with their paths; where all of its folders
    are splits, into `train-00000.tar`, ..., with their paths in these. Files beside the folders that are no images,
    such as a table of labels, are copied beside the tars.

    The same folder gives the same bytes: names, contents and nothing else count. Where tars are there already, files
    that they hold are passed over, and the others go into new tars: no file in `target` is changed.

    Args:
        shard_bytes: size from which on the next tar is begun.

    Returns:
        What was done, and what to type now.

    Raises:
        FormworkError: a file cannot be read or written, or is another than the one of its name in a tar; nothing is
            half written then.
    """
    _check_folders(folder, target)
    hidden: list[str] = []
    paths = sorted_paths(_files(folder, "", hidden))
    if tars := [path for path in paths if is_tar(path)]:
        raise FormworkError(f"{printable(folder / tars[0])} is a tar already: unpack it, or move it out of {folder}.")
    beside = [path for path in paths if "/" not in path and extension(path) not in IMAGE_EXTENSIONS]
    packed = [path for path in paths if path not in set(beside)]
    if not packed:
        raise FormworkError(f"{printable(folder)} holds no images to pack.")
    prefixes = _prefixes(packed)
    there = _there(target)
    target.mkdir(parents=True, exist_ok=True)
    check_writable(target / f"{SHARD}-00000.tar")
    lines, written, known = [], [], set()
    with progress(total=len(packed), name="pack", unit="images") as bar:
        for prefix in prefixes:
            of_split = [path for path in packed if path.startswith(prefix)]
            new = []
            for path in of_split:
                held = there.get((prefix.rstrip("/") or SHARD, path[len(prefix) :]))
                if held is None:
                    new.append(path)
                else:
                    _check_same(folder / path, held, path[len(prefix) :])
                    known.add(path)
                    bar.update(1)
            for name, content in _shards(folder, new, shard_bytes, prefix, target):
                _write(target / name, folder, content, prefix)
                written.append(name)
                bar.update(len(content))
    lines.append(f"{printable(target)}: {_named(written)}, {count(len(packed) - len(known), 'file')}.")
    if known:
        lines.append(f"{count(len(known), 'file')} {'was' if len(known) == 1 else 'were'} in tars there already.")
    if gone := len(there) - len(known):
        lines.append(f"Not in {printable(folder)}, and kept in the tars: {count(gone, 'file')}.")
    if hidden:
        lines.append(f"Left out: {count(len(hidden), 'hidden or system file')} ({printable(hidden[0])}, ...).")
    lines += _copy_beside(folder, target, beside)
    return "\n".join([*lines, f"Put it under DVC:\n\n\tdvc add {shell_word(target)}\n"])


def _check_folders(folder: Path, target: Path) -> None:
    if not folder.is_dir():
        raise FormworkError(f"{printable(folder)} is no folder. Name the folder of images, then the one for the tars.")
    if target.resolve().is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(target.resolve()):
        raise FormworkError(f"{printable(target)} and {printable(folder)} lie in each other: write the tars elsewhere.")
    if target.exists() and not target.is_dir():
        raise FormworkError(f"{printable(target)} is a file. Name the folder for the tars.")


def _files(folder: Path, place: str, hidden: list[str]) -> Iterator[str]:
    """The paths of all files below a folder, relative to it."""
    try:
        with os.scandir(folder / place) as entries:
            for entry in sorted(entries, key=lambda one: one.name):
                path = place + entry.name
                if is_litter(entry.name):
                    hidden.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    yield from _files(folder, f"{path}/", hidden)
                elif entry.is_file():
                    yield path
                else:
                    what = "a link to a folder, or to nothing" if entry.is_symlink() else "neither a file nor a folder"
                    raise FormworkError(f"{printable(folder / path)} is {what}: put what it stands for in its place.")
    except OSError as error:
        raise FormworkError(limits.unreadable(printable(folder / place), error, limits.PERMISSIONS)) from error


def _prefixes(paths: Sequence[str]) -> list[str]:
    """The folders of the splits, with a slash at the end; [""] where not all images lie in such."""
    tops = sorted({path.partition("/")[0] if "/" in path else "" for path in paths})
    named = [split_name(top) for top in tops]
    return [f"{top}/" for top in tops] if all(name and not name.rest for name in named) else [""]


def _there(target: Path) -> dict[tuple[str, str], TarFile]:
    """The tars in a folder by what they hold: name without number, and path."""
    found: dict[tuple[str, str], TarFile] = {}
    for path in sorted(target.glob(f"*{TAR}")) if target.is_dir() else ():
        numbered = NUMBERED.fullmatch(path.name)
        if numbered is None:
            raise FormworkError(f"{printable(path)} was not packed by this command. Name another folder for the tars.")
        try:
            tar = TarFile(str(path))
            if tar.index.damage:
                raise FormworkError(f"{printable(path)}: {tar.index.damage}. Remove it, and it is packed anew.")
        except OSError as error:
            raise FormworkError(
                limits.unreadable(printable(path), error, "Remove it, and it is packed anew.")
            ) from error
        found |= {(numbered[1], name): tar for name in tar.index.names}
    return found


def _check_same(path: Path, tar: TarFile, name: str) -> None:
    """Raises FormworkError: a file is another than the one of its name in a tar."""
    if _read(path) != tar.read(name):
        raise FormworkError(
            f"{printable(path)} is not the file of this name in {printable(tar.path)}, and no tar is changed. Give the "
            "new image another name, or pack everything into another folder."
        )


def _shards(
    folder: Path, paths: Sequence[str], shard_bytes: int, prefix: str, target: Path
) -> Iterator[tuple[str, list[str]]]:
    """Names of tars that are not there yet, and what each is to hold."""
    name = prefix.rstrip("/") or SHARD
    taken = [
        int(found[2])
        for path in target.glob(f"*{TAR}")
        if (found := NUMBERED.fullmatch(path.name)) and found[1] == name
    ]
    number, size, content = max(taken, default=-1) + 1, 0, []
    for path in paths:
        content.append(path)
        size += os.path.getsize(folder / path)
        if size >= shard_bytes:
            yield f"{name}-{number:05d}{TAR}", content
            number, size, content = number + 1, 0, []
    if content:
        yield f"{name}-{number:05d}{TAR}", content


def _write(path: Path, folder: Path, content: Sequence[str], prefix: str) -> None:
    """Write a tar, which appears when it is whole."""
    with atomic_write(path) as out, tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for file in content:
            data = _read(folder / file)
            member = tarfile.TarInfo(file[len(prefix) :])  # of owner 0, at time 0
            member.size = len(data)
            tar.addfile(member, BytesIO(data))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormworkError(limits.unreadable(printable(path), error, limits.PERMISSIONS)) from error


def _copy_beside(folder: Path, target: Path, names: Sequence[str]) -> list[str]:
    """Copy what lies beside the images, but over no other file; with a line on each that is there and differs."""
    lines = []
    for name in names:
        source, copy = folder / name, target / name
        if not copy.exists():
            with open(source, "rb") as file, atomic_write(copy) as out:
                shutil.copyfileobj(file, out)
            lines.append(f"{printable(name)} lies beside the tars.")
        elif copy.read_bytes() != source.read_bytes():
            command = f"cp {shell_word(source)} {shell_word(copy)}"
            lines.append(f"{printable(copy)} is another than {printable(source)}, and stays: `{command}` replaces it.")
    return lines


def _named(written: Sequence[str]) -> str:
    if not written:
        return "no new tar"
    listed = written[0] if len(written) == 1 else f"{written[0]} to {written[-1]}"
    return f"{count(len(written), 'new tar')} ({printable(listed)})"
