"""The tables of a beton in memory: of one file, or of the parts that it is stored as."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np

from formwork.beton import provenance as origin
from formwork.beton.provenance import Provenance
from formwork.errors import BetonError
from formwork.images.manifest import Manifest, digest_starts

Identity = tuple[int, ...]
"""Of a file: another one of its name, or the same after an edit, has another."""


@dataclass(frozen=True)
class BetonFile:
    """One file of a beton.

    Attributes:
        identity: of the file whose tables were read.
        page_size: bytes.
        field_names: of all its fields. image_field, label_field: which of them are read.
        provenance: what it was made from; None in a beton of FFCV's own writer.
    """

    path: Path
    identity: Identity
    page_size: int
    field_names: tuple[str, ...]
    image_field: int
    label_field: int
    provenance: Provenance | None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.identity[2]


@dataclass(frozen=True)
class Beton:
    """The tables of an open beton of N samples.

    Attributes:
        path: of the file, or of the folder of parts.
        files: those that hold the samples; one, but for parts.
        file: (N,) int32, the position in `files` of the one that holds a sample.
        modes: (N,) uint8, JPG or RAW. widths, heights: (N,) int64 pixels. labels: (N,) int64.
        offsets, sizes: (N,) int64, where each sample's data lies in its file, in bytes.
        padding: (N,) int64, how many zeros follow it, up to the edge of a page; 0 without `checksums`.
        stored_checksums: (N,) uint64 or, in betons of before, (N, 16) uint8; None in those of FFCV's own writer.
        passed_through: (N,) bool, whether a sample is its original file, in parts; None where nobody knows.
        keys: (N, 32) uint8, SHA-256 of the original of each sample, in parts; None in others, and in the beton of a
            manifest, which has them, too.
        storage_order: (N,) int64, sample ids in the order in which they are stored; that of a manifest, if the beton
            is of one.
    """

    path: Path
    files: tuple[BetonFile, ...]
    file: np.ndarray
    modes: np.ndarray
    widths: np.ndarray
    heights: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    padding: np.ndarray
    stored_checksums: np.ndarray | None
    passed_through: np.ndarray | None
    keys: np.ndarray | None
    storage_order: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def checksums(self) -> np.ndarray | None:
        """(N,) uint64, see formwork.kernels.checksum_formula; None in betons of before, and of FFCV's own writer."""
        known = self.stored_checksums
        return known if known is not None and known.dtype == origin.CHECKSUM else None

    @property
    def provenance(self) -> Provenance | None:
        """Of the file, or of one of the parts, which all have the same; None where one of them has none."""
        found = [file.provenance for file in self.files]
        return None if None in found else found[0]

    @property
    def page_size(self) -> int:
        """Bytes; the largest of all files."""
        return max(file.page_size for file in self.files)

    @property
    def field_names(self) -> tuple[str, ...]:
        """Of all fields."""
        return self.files[0].field_names

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def in_parts(self) -> bool:
        return self.provenance is not None and self.provenance.version == origin.PART

    def path_of(self, sample: int) -> Path:
        """The file that holds a sample."""
        return self.files[int(self.file[sample])].path

    def is_intact(self, sample: int, data: bytes | memoryview | np.ndarray) -> bool:
        """Whether these are the bytes that were written for a sample; False where nobody knows."""
        if self.stored_checksums is None:
            return False
        if self.checksums is None:
            return hashlib.sha256(cast(bytes, data)).digest()[:16] == self.stored_checksums[sample].tobytes()
        return origin.checksum(data) == self.stored_checksums[sample]

    def of_manifest(self, manifest: Manifest) -> "Beton":
        """The beton whose sample i is row i of a manifest.

        Where labels come from a table, those in a beton are none, or of the time when another program wrote it.

        Raises:
            BetonError: it does not hold the images of this manifest.
        """
        if self.keys is not None:
            samples = self.samples_of(manifest.sha256)
            if (missing := np.flatnonzero(samples < 0)).size:
                raise BetonError(
                    f"{self.path} lacks {len(missing)} of the {len(manifest)} images of {manifest.path}. Run "
                    "`dvc pull` or `dvc repro convert`."
                )
            return replace(self, keys=None).take(samples, manifest.storage_order)
        known = self.provenance
        if known and len(self.files) == 1 and known.manifest_sha256 != manifest.images_digest:
            raise BetonError(
                f"{self.path} was made from another version of {manifest.path}. Run `dvc repro convert` or `dvc pull`."
            )
        same = len(self) == len(manifest)
        if not (same and (manifest.columns.from_table or np.array_equal(self.labels, manifest.labels))):
            raise BetonError(
                f"{self.path} does not belong to {manifest.path}: it holds {len(self)} images and the manifest "
                f"{len(manifest)}, or their labels differ. Run `dvc repro convert` or `dvc pull`."
            )
        return self

    def samples_of(self, sha256: np.ndarray) -> np.ndarray:
        """(M,) int64, the sample of each original, of several the first; -1 where there is none.

        Args:
            sha256: (M, 32) uint8, of the originals' content.
        """
        assert self.keys is not None
        order, ordered = self._by_key
        asked, wanted = digest_starts(sha256), np.ascontiguousarray(sha256).view("<u8")
        # Sorted first: a search for neighbours finds them in the processor's cache.
        by_start = np.argsort(asked)
        places = np.empty(len(asked), np.int64)
        places[by_start] = np.searchsorted(ordered, asked[by_start])
        found = order[np.minimum(places, len(order) - 1)]
        keys = self.keys.view("<u8")
        same = keys[found, 1] == wanted[:, 1]
        for column in (0, 2, 3):
            same &= keys[found, column] == wanted[:, column]
        absent = np.flatnonzero(~same)
        found[absent] = -1
        start, stop = (np.searchsorted(ordered, asked[absent], side=side) for side in ("left", "right"))
        for i, first, last in zip(absent[stop > start + 1], start, stop, strict=False):
            equal = order[first:last]  # several that start in the same way
            equal = equal[(keys[equal] == wanted[i]).all(axis=1)]
            found[i] = equal[0] if len(equal) else -1
        return found

    @cached_property
    def _by_key(self) -> tuple[np.ndarray, np.ndarray]:
        """Samples by their keys, and the start of the key of each."""
        assert self.keys is not None
        starts = digest_starts(self.keys)
        order = np.argsort(starts, kind="stable")
        return order, starts[order]

    def take(self, samples: np.ndarray, storage_order: np.ndarray | None = None) -> "Beton":
        """Some of the samples, in another order; `storage_order` is that in which they are given, by default."""
        columns: dict[str, Any] = {name: getattr(self, name) for name in (*COLUMNS, *OPTIONAL)}
        taken: dict[str, Any] = {name: None if of is None else of[samples] for name, of in columns.items()}
        return replace(
            self,
            **taken,
            storage_order=np.arange(len(samples)) if storage_order is None else storage_order,
        )


COLUMNS = ("file", "modes", "widths", "heights", "labels", "offsets", "sizes", "padding")
OPTIONAL = ("stored_checksums", "passed_through", "keys")


def join(path: Path, betons: Sequence[Beton]) -> Beton:
    """Several betons as one: the samples of the first, then those of the next."""
    counts = np.array([len(beton) for beton in betons])
    starts = np.cumsum(counts) - counts
    files = [len(beton.files) for beton in betons]
    of_files = [beton.file + first for beton, first in zip(betons, np.cumsum([0, *files]).tolist(), strict=False)]
    orders = [beton.storage_order + start for beton, start in zip(betons, starts, strict=True)]
    return Beton(
        path=path,
        files=tuple(file for beton in betons for file in beton.files),
        **{name: np.concatenate([getattr(beton, name) for beton in betons]) for name in COLUMNS if name != "file"},
        file=np.concatenate(of_files),
        **{name: _concatenated([getattr(beton, name) for beton in betons]) for name in OPTIONAL},
        storage_order=np.concatenate(orders),
    )


def _concatenated(columns: Sequence[np.ndarray | None]) -> Any:
    """None where one is missing, or is of another type than the others."""
    known = [column for column in columns if column is not None]
    same = len(known) == len(columns) and len({(column.dtype, column.ndim) for column in known}) == 1
    return np.concatenate(known) if same else None
