"""What was verified before: facts by file, so that a second run of link reads only what changed.

A cache and no more: it may be deleted at any time, and link goes without where it cannot be used.
"""

import hashlib
import os
import sqlite3
import struct
from collections.abc import Collection, Iterable
from pathlib import Path

import PIL

from formwork.datasets import inspect_file as check
from formwork.datasets.inspect_file import Facts
from formwork.images import pixels as images
from formwork.images.manifest import path_bytes

UNSURE_NS = 2_000_000_000
"""A file changed this shortly before it was read may change again without a change of its time: the clocks of file
systems tick in steps, of 2 s on FAT. Such a file is not remembered. (git calls such entries of its index racy.)"""
WRITTEN_TOGETHER = 4096  # entries: what a killed process may lose, against the cost of a transaction
MOMENTS = struct.Struct("<6q")
COLUMNS = "path, bytes, mtime_ns, inode, width, height, mode, format, sha256, moments"


class VerificationCache:
    """Facts of files by path, size, time of change (ns) and inode, in an SQLite file.

    Facts found by other code, or by another Pillow, are not used. Several processes may use the same file at
    once, and any of them may be killed.
    """

    def __init__(self, path: Path):
        self._table = f"facts_{_version()}"
        self._connection: sqlite3.Connection | None = None
        self._new: list[tuple] = []
        self._empty = False  # when it was opened: the first run asks for nothing
        for attempt in ("as it is", "anew"):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._connection = self._open(path)
                return
            except (sqlite3.Error, OSError) as error:
                if attempt == "as it is" and type(error) is sqlite3.DatabaseError and path.is_file():
                    path.unlink()  # no database, or a damaged one
                    continue
                self._give_up(error)
                return

    def _open(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=30)
        try:
            connection.execute("PRAGMA synchronous = OFF")  # whatever a power cut does to it, nothing is lost
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            with connection:
                for name in tables:
                    if name != self._table:
                        connection.execute(f'DROP TABLE "{name}"')
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {self._table} ({COLUMNS}, PRIMARY KEY (path)) WITHOUT ROWID"
                )
            self._empty = connection.execute(f"SELECT 1 FROM {self._table} LIMIT 1").fetchone() is None
        except BaseException:
            connection.close()
            raise
        return connection

    def get(self, path: str, status: os.stat_result) -> Facts | None:
        """What is known of a file, `path` below the raw dataset, if it is the one of this status."""
        if self._connection is None or self._empty:
            return None
        try:
            found = self._connection.execute(
                f"SELECT {COLUMNS} FROM {self._table} WHERE path = ? AND bytes = ? AND mtime_ns = ? AND inode = ?",
                (path_bytes(path), status.st_size, status.st_mtime_ns, _signed(status.st_ino)),
            ).fetchone()
            if found is None:
                return None
            _, size, mtime_ns, _, width, height, mode, kind, sha256, moments = found
            values = MOMENTS.unpack(moments)
            return Facts(size, mtime_ns, status.st_ino, width, height, mode, kind, sha256, values)
        except (sqlite3.Error, struct.error, TypeError, ValueError) as error:
            self._give_up(error)
            return None

    def put(self, found: Iterable[tuple[str, Facts]], started_ns: int) -> None:
        """Remember files, by path below the raw dataset, the reading of which began at `started_ns` (time.time_ns)."""
        self._new += (
            (
                path_bytes(path),
                f.size,
                f.mtime_ns,
                _signed(f.inode),
                *f[3:8],
                MOMENTS.pack(*f.moments),
            )
            for path, f in found
            if f.mtime_ns < started_ns - UNSURE_NS
        )
        if len(self._new) >= WRITTEN_TOGETHER:
            self._write()

    def prune(self, paths: Collection[str]) -> None:
        """Remove the entries of files that are none of `paths`, once they are more than half of all.

        Not at once: whoever goes back to an older version of a dataset finds its files verified.
        """
        self._write()
        if self._connection is None:
            return
        try:
            (entries,) = self._connection.execute(f"SELECT COUNT(*) FROM {self._table}").fetchone()
            if entries <= 2 * len(paths):
                return
            keep = {path_bytes(path) for path in paths}
            gone = [row for row in self._connection.execute(f"SELECT path FROM {self._table}") if row[0] not in keep]
            with self._connection:
                self._connection.executemany(f"DELETE FROM {self._table} WHERE path = ?", gone)
        except sqlite3.Error as error:
            self._give_up(error)

    def _write(self) -> None:
        new, self._new = self._new, []
        if self._connection is None or not new:
            return
        try:
            with self._connection:
                self._connection.executemany(
                    f"INSERT OR REPLACE INTO {self._table} ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", new
                )
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        self._write()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _give_up(self, error: Exception) -> None:
        print(f"WARNING: what was verified before cannot be remembered ({error}): every image is read.")
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _signed(number: int) -> int:
    """SQLite's integers are signed; inodes need not fit."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _version() -> str:
    """Of the code that decides what is found in a file."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for module in (images, check):
        digest.update(Path(module.__file__).read_bytes())
    return digest.hexdigest()[:16]
