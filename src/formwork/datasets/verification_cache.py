"""Results of earlier verifications by file, so that another run of link reads only the files that changed.

The cache may be deleted at any time, and link works without it where it cannot be used.
"""

import hashlib
import os
import sqlite3
import struct
from collections.abc import Collection, Iterable
from pathlib import Path

import PIL

from formwork.code import code_digest
from formwork.datasets.verify_file import ImageInfo
from formwork.images.manifest import path_bytes

RACY_NS = 2_000_000_000
"""A file that changed this shortly before it was read may change again and keep its mtime, as file systems store times
in steps, FAT of 2 s. Such a file is not cached. ("Racy" is git's word for such entries of its index.)"""
ENTRIES_PER_TRANSACTION = 4096  # a killed process loses at most so many; a transaction costs a write to disk
MOMENTS = struct.Struct("<6q")
COLUMNS = "path, bytes, mtime_ns, inode, width, height, mode, format, sha256, moments"


class VerificationCache:
    """The ImageInfo of each file, by path, size, mtime and inode, in an SQLite file.

    Entries made by other code or by another version of Pillow are dropped. Several processes may use the same file at
    once, and any of them may be killed. An SQLite file that is damaged is deleted; any other error turns the cache off
    for this process, with a warning.
    """

    def __init__(self, path: Path):
        self._path = path
        self._table = f"images_{_version()}"
        self._connection: sqlite3.Connection | None = None
        self._new: list[tuple] = []
        self._empty = False  # when it was opened: the first run of link looks nothing up
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._connection = self._open()
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                path.unlink()
                self._connection = self._open()
        except (sqlite3.Error, OSError) as error:
            self._turn_off(error)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=30)
        try:
            connection.execute("PRAGMA synchronous = OFF")  # a power cut may cost the cache, and the cache only
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

    def get(self, path: str, status: os.stat_result) -> ImageInfo | None:
        """The cached result for a file that still has this status; None if there is none.

        Args:
            path: relative to the raw dataset.
        """
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
            sums = MOMENTS.unpack(moments)
            return ImageInfo(size, mtime_ns, status.st_ino, width, height, mode, kind, sha256, sums)
        except (sqlite3.Error, struct.error, TypeError, ValueError) as error:
            self._turn_off(error)
            return None

    def put(self, found: Iterable[tuple[str, ImageInfo]], started_ns: int) -> None:
        """Cache results by path, relative to the raw dataset.

        Args:
            started_ns: time.time_ns() before the first of these files was read.
        """
        self._new += (
            (
                path_bytes(path),
                image.size,
                image.mtime_ns,
                _signed(image.inode),
                *image[3:8],
                MOMENTS.pack(*image.moments),
            )
            for path, image in found
            if image.mtime_ns < started_ns - RACY_NS
        )
        if len(self._new) >= ENTRIES_PER_TRANSACTION:
            self._write()

    def prune(self, paths: Collection[str]) -> None:
        """Remove the entries of files that are not in `paths`, but only once they are more than half of all entries.

        Until then, an older version of the dataset that is checked out again needs no verification.
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
            self._turn_off(error)

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
            self._turn_off(error)

    def close(self) -> None:
        """Write what is not written yet."""
        self._write()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _turn_off(self, error: Exception) -> None:
        print(f"WARNING: the verification cache {self._path} cannot be used ({error}): images are read again.")
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if _is_damage(error):
            self._path.unlink(missing_ok=True)  # the next run starts a new one


def _is_damage(error: Exception) -> bool:
    """Whether the SQLite file is no database, or has content that this class never wrote.

    Errors of the environment, such as a full disk or a lock, are subclasses of DatabaseError.
    """
    return type(error) is sqlite3.DatabaseError or not isinstance(error, sqlite3.Error | OSError)


def _signed(number: int) -> int:
    """An unsigned 64-bit inode as a signed integer, the only type of integer that SQLite has."""
    return number - (1 << 64) if number >= 1 << 63 else number


def _version() -> str:
    """A digest of what decides what is found in a file: Pillow's version, and our code around it."""
    code = code_digest(("images", "datasets/verify_file.py"))
    return hashlib.sha256(f"{PIL.__version__} {code}".encode()).hexdigest()[:16]
