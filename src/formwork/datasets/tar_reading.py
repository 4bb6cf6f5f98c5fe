"""Reading the tars of a raw dataset: each once, with what is wrong with it, and where in it each image lies."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from formwork import limits
from formwork.datasets.tables.rows import DAMAGED_TAR, RowFinding
from formwork.datasets.tar_folders import Tar, is_tar
from formwork.errors import DatasetError
from formwork.escapes import printable, shell_word
from formwork.images.containers import container_status
from formwork.images.tars import LOOSE, SPAN, compression, inner_ends, read_index
from formwork.text import count

UNPACK = {".gz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz", ".zst": "unzstd --rm", ".lz4": "unlz4 --rm"}
"""The command that makes a plain tar of a compressed one, by extension."""
COMPRESSED_ENDS = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4", ".tgz", ".tbz", ".tbz2", ".txz", ".tzst")


class TarsOfFolder:
    """The tars of a raw dataset.

    Attributes:
        known: each tar that was read, by path; None for one that holds nothing, or is compressed.
        compressed: those that are, by path, with the end that says how; see UNPACK.
        folder_of: the folder that each stands for, both with a slash at the end.
        findings: on damaged tars.
        notes: for people, one line each.
    """

    def __init__(self, raw: Path, shown: Callable[[str], str]) -> None:
        self.raw, self._shown = raw, shown
        self.known: dict[str, Tar | None] = {}
        self.folder_of: dict[str, str] = {}
        self.findings: list[RowFinding] = []
        self.notes: list[str] = []
        self.compressed: dict[str, str] = {}
        self._statuses: dict[str, tuple[int, int]] = {}

    def read(self, path: str, outer: Tar | None) -> Tar | None:
        """A tar, which may lie in another; None where nothing in it can be read.

        Raises:
            DatasetError: it cannot be opened.
        """
        if path not in self.known:
            try:
                self.known[path] = self._read(path, outer)
            except OSError as error:
                advice = "Make it readable, or leave it out with data.ignore in params.yaml."
                raise DatasetError(limits.unreadable(self._shown(path), error, advice)) from error
        return self.known[path]

    def _read(self, path: str, outer: Tar | None) -> Tar | None:
        start, size = 0, None
        if outer:
            place = outer.index.span(path[len(outer.path) + 1 :])
            if outer.inside or place is None or place[0] < 0:
                return None  # nested twice, or a link to nothing
            start, size = place
        on_disk = f"{self.raw}/{outer.path if outer else path}"
        if not os.path.isfile(on_disk):
            self._damaged(path, "it is no file, or a link to none: `dvc pull` may bring it")
            return None
        file = os.open(on_disk, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if end := compression(file, start):
                self.compressed[path] = end
            if end or not is_tar(path):
                return None
            if outer is None:
                self._statuses[path] = container_status(on_disk)
            index = read_index(file, start, size)
        finally:
            os.close(file)
        if index.damage:
            listed = f"; before that, it holds {count(len(index.names), 'file')}" if index.names else ""
            self._damaged(path, f"{index.damage}{listed}")
        if index.repeated:
            self.notes.append(
                f"WARNING: {self._shown(path)} holds {count(index.repeated, 'file')} again under the same name: the "
                "last of each counts, as when it is unpacked."
            )
        return Tar(path, index, outer is not None) if index.names else None

    def is_damaged(self, path: str) -> bool:
        return any(finding.path == path for finding in self.findings)

    def _damaged(self, path: str, reason: str) -> None:
        self.findings.append(RowFinding(path, DAMAGED_TAR, reason))

    @property
    def used(self) -> list[Tar]:
        """Those that stand for folders, sorted by path."""
        return [tar for path, tar in sorted(self.known.items()) if tar and f"{path}/" in self.folder_of]

    def refuse_compressed(self) -> None:
        """Raises DatasetError: there are compressed tars."""
        if self.compressed:
            path, end = min(self.compressed.items())
            more = f" ({count(len(self.compressed) - 1, 'more', 'more')})" if len(self.compressed) > 1 else ""
            packed = on_disk = shell_word(f"{self.raw}/{path}")
            if is_tar(path):  # for all that its name says
                packed = shell_word(f"{self.raw}/{path}{end}")
            rename = f"mv {on_disk} {packed} && " if packed != on_disk else ""
            raise DatasetError(
                f"{self._shown(path)}{more} is compressed: no image in it can be read without unpacking all that comes "
                f"before it, and images are hardly smaller for it. Make a plain tar of it: "
                f"`{rename}{UNPACK[end]} {packed}`."
            )

    def spans(self, paths: Sequence[str]) -> np.ndarray | None:
        """(N,) SPAN of files; None where there are no tars."""
        tars = {f"{tar.path}/": tar.index for tar in self.used}
        if not tars:
            return None
        found = np.full(len(paths), np.array(LOOSE, SPAN))
        by_tar: dict[str, tuple[list[int], list[str]]] = {prefix: ([], []) for prefix in tars}
        prefix, nested = "/", any(tar.inside for tar in self.used)
        for place, path in enumerate(paths):
            # Else it is in the same tar as the one before.
            if not path.startswith(prefix) or (nested and inner_ends(path[len(prefix) :])):
                prefix = next((path[: end + 1] for end in reversed(inner_ends(path)) if path[: end + 1] in tars), "/")
            if prefix != "/":
                by_tar[prefix][0].append(place)
                by_tar[prefix][1].append(path[len(prefix) :])
        for prefix, (places, names) in by_tar.items():
            found[places] = tars[prefix].spans(names)
        return found

    def check_unchanged(self) -> None:
        """Raises DatasetError: a tar is no longer what it was when it was read."""
        for path, status in self._statuses.items():
            try:
                same = container_status(f"{self.raw}/{path}") == status
            except OSError:
                same = False
            if not same:
                raise DatasetError(
                    f"{printable(f'{self.raw}/{path}')} changed while its images were verified. Run `dvc repro` again "
                    "when nothing writes to it."
                )
