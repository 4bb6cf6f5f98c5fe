"""Results of earlier verifications by file, so that another run of link reads only the files that changed.

The cache may be deleted at any time, and link works without it where it cannot be used.
"""

import hashlib
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from itertools import compress
from pathlib import Path

import numpy as np
import PIL

from formwork.code import code_digest
from formwork.datasets.verify_file import RECORD
from formwork.images.manifest import path_bytes

RACY_NS = 2_000_000_000
"""A file that changed this shortly before it was read may change again and keep its mtime, as file systems store times
in steps, FAT of 2 s. Such a file is not cached. ("Racy" is git's word for such entries of its index.)"""
ENTRIES_PER_CHUNK = 4096  # a killed process loses at most so many; a transaction costs a write to disk
ANY_SIZE = -1  # where the size of an image is not known before it is read
STATUS = ["size", "mtime_ns", "inode"]  # of a file: if they are the same, so is its content


class VerificationCache:
    """What verification found in each file, by path, size, mtime and inode, in an SQLite file.

    Entries are stored many at a time, as arrays, and only ever appended: of several for a path, each holds for the
    file's status that it names. Reading them all takes half a microsecond each; one SELECT a file would take ten.

    Entries made by other code or by another version of Pillow are dropped. Several processes may use the same file at
    once, and any of them may be killed. An SQLite file that is damaged is deleted; any other error turns the cache off
    for this process, with a warning.
    """

    def __init__(self, path: Path):
        self._path = path
        self._table = f"images_{_version()}"
        self._connection: sqlite3.Connection | None = None
        self._new: list[tuple[list[str], np.ndarray]] = []  # not written yet
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
                    f"CREATE TABLE IF NOT EXISTS {self._table} "
                    "(id INTEGER PRIMARY KEY, entries INTEGER, paths BLOB, records BLOB, checksum INTEGER)"
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def look_up(self, paths: Sequence[str], status: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The cached results of files, by their status.

        Args:
            paths: N of them, relative to the raw dataset.
            status: (N,) with the fields in STATUS.

        Returns:
            (N,) RECORD, the last result of each file, zeros where there is none; and (N,) bool, whether the file has
            the status that it had then.
        """
        found, known = np.zeros(len(paths), RECORD), np.zeros(len(paths), bool)
        places: dict[str, int] = {}
        try:
            for names, records in self._chunks():
                places = places or dict(zip(paths, range(len(paths)), strict=True))
                at = np.array([places.get(name, -1) for name in names], np.int64)
                same = at >= 0
                for field in STATUS:
                    same &= records[field] == status[field][at]
                    if field == "size":
                        same |= (at >= 0) & (status[field][at] == ANY_SIZE)
                former = (at >= 0) & ~known[at]
                found[at[former]] = records[former]
                found[at[same]] = records[same]  # after those, of which one may be of the same file
                known[at[same]] = True
        except (sqlite3.Error, TypeError, ValueError) as error:
            self._turn_off(error)
        return found, known

    def _chunks(self) -> Iterator[tuple[list[str], np.ndarray]]:
        """All entries, those last written last: paths and RECORDs.

        Raises:
            sqlite3.Error, TypeError, ValueError: they are damaged.
        """
        if self._connection is None:
            return
        chunks = self._connection.execute(f"SELECT paths, records, checksum FROM {self._table} ORDER BY id")
        for paths, records, checksum in chunks:
            if _checksum(paths, records) != checksum:
                raise sqlite3.DatabaseError("a checksum differs")
            yield paths.decode("utf-8", "surrogateescape").split("\0"), np.frombuffer(records, RECORD)

    def put(self, paths: Sequence[str], records: np.ndarray, started_ns: int) -> None:
        """Cache results by path, relative to the raw dataset.

        Args:
            records: RECORD, one a path.
            started_ns: time.time_ns() before the first of these files was read.
        """
        settled = records["mtime_ns"] < started_ns - RACY_NS
        names = list(compress(paths, settled))
        if names:
            self._new.append((names, records[settled]))
        if sum(len(names) for names, _ in self._new) >= ENTRIES_PER_CHUNK:
            self._write()

    def prune(self, paths: Sequence[str]) -> None:
        """Remove the entries of files that are not in `paths`, and those that others replace, but only once they are
        more than half of all entries.

        Until then, an older version of the dataset that is checked out again needs no verification.
        """
        self._write()
        if self._connection is None:
            return
        try:
            (entries,) = self._connection.execute(f"SELECT SUM(entries) FROM {self._table}").fetchone()
            if (entries or 0) <= 2 * len(paths):
                return
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")  # what another process adds meanwhile is not lost
                keep = set(paths)
                latest: dict[str, np.void] = {}
                for names, records in self._chunks():
                    latest.update((name, record) for name, record in zip(names, records, strict=True) if name in keep)
                self._connection.execute(f"DELETE FROM {self._table}")
                kept = list(latest)
                for start in range(0, len(kept), ENTRIES_PER_CHUNK):
                    names = kept[start : start + ENTRIES_PER_CHUNK]
                    self._insert(names, np.array([latest[name] for name in names], RECORD))
        except (sqlite3.Error, TypeError, ValueError) as error:
            self._turn_off(error)

    def _write(self) -> None:
        new, self._new = self._new, []
        if self._connection is None or not new:
            return
        try:
            with self._connection:
                self._insert([name for names, _ in new for name in names], np.concatenate([of for _, of in new]))
        except sqlite3.Error as error:
            self._turn_off(error)

    def _insert(self, names: list[str], records: np.ndarray) -> None:
        assert self._connection is not None
        paths, data = path_bytes("\0".join(names)), records.tobytes()
        self._connection.execute(
            f"INSERT INTO {self._table} (entries, paths, records, checksum) VALUES (?, ?, ?, ?)",
            (len(names), paths, data, _checksum(paths, data)),
        )

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


def _checksum(paths: bytes, records: bytes) -> int:
    return zlib.crc32(records, zlib.crc32(paths))


def _version() -> str:
    """A digest of what decides what is found in a file: Pillow's version, and our code around it."""
    code = code_digest(("images", "datasets/verify_file.py", "datasets/perceptual_hash.py"))
    return hashlib.sha256(f"{PIL.__version__} {code}".encode()).hexdigest()[:16]
