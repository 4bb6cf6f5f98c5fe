"""The raw images of a side: those that lie in the workspace, and those that DVC's cache still has."""

import hashlib
import json
import mmap
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from formwork.folders import Folders
from formwork.images.containers import possible_containers, read_image
from formwork.images.tars import TAR, TarFile
from formwork.tools.diff.images import Images
from formwork.tools.diff.sides import Files, Side
from formwork.tools.thumbnails import thumbnail

ENTRY = re.compile(rb'"md5": "([0-9a-f]{32})", "relpath": ("(?:[^"\\]|\\.)*")')
"""Of one file, in what DVC keeps of a folder: JSON, with the keys in this order."""


def thumbnails(files: Files, side: Side, images: Images, rows: np.ndarray) -> list[str | None]:
    """A small picture, as a data URI, of each of these images; None where it is not here."""
    contents = raw_contents(files, side, images.paths_of(rows), images.digests_of(rows))
    return [None if content is None else thumbnail(content) for content in contents]


def raw_contents(files: Files, side: Side, paths: Sequence[str], digests: Sequence[bytes]) -> list[bytes | None]:
    """The content of raw images of a side, by their paths and SHA-256; None for those that are nowhere here."""
    folder = Folders.of(side.dataset, files.root).raw
    found = [_read(folder, path, digest) for path, digest in zip(paths, digests, strict=True)]
    wanted = [path for path, content in zip(paths, found, strict=True) if content is None]
    if side.raw is None or not wanted:
        return found
    inside = {path: possible_containers(path) for path in wanted}
    cached = _in_folder(files.cached(side.raw), [*wanted, *{one for several in inside.values() for one in several}])
    tars: dict[str, TarFile] = {}

    def read(path: str, digest: bytes) -> bytes | None:
        if path in cached:
            return _read(files.cached(cached[path]).parent, files.cached(cached[path]).name, digest)
        tar = next((one for one in inside.get(path, ()) if one in cached and one.lower().endswith(TAR)), None)
        if tar is None:
            return None
        return _checked(lambda: _tar(files.cached(cached[tar]), tars).read(path[len(tar) + 1 :]), digest)

    return [
        read(path, digest) if content is None else content
        for path, digest, content in zip(paths, digests, found, strict=True)
    ]


def _read(folder: Path, path: str, digest: bytes) -> bytes | None:
    """The content of an image's file, if it is there and still the one of that digest."""
    return _checked(lambda: read_image(folder, path), digest)


def _tar(path: Path, opened: dict[str, TarFile]) -> TarFile:
    """A tar in DVC's cache, opened once."""
    if str(path) not in opened:
        opened[str(path)] = TarFile(str(path))
    return opened[str(path)]


def _checked(read: Callable[[], bytes], digest: bytes) -> bytes | None:
    """A content, if it can be read and is still the one of that digest."""
    try:
        content = read()
    except OSError:
        return None
    return content if hashlib.sha256(content).digest() == digest else None


def _in_folder(listing: Path, paths: Sequence[str]) -> dict[str, str]:
    """MD5 by path, of those of `paths` that DVC's listing of a folder has. It may have millions: it is searched, not
    taken into memory."""
    wanted = {json.dumps(path).encode(): path for path in paths}
    if not listing.is_file() or not listing.stat().st_size:
        return {}
    with listing.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return {wanted[entry[2]]: entry[1].decode() for entry in ENTRY.finditer(content) if entry[2] in wanted}
