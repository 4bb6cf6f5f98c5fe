"""Opening a beton: its tables in memory, after checking that they can be trusted."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from formwork.beton import format as layout
from formwork.beton import provenance as origin
from formwork.beton.beton import Beton, BetonFile, Identity, join
from formwork.beton.faults import damaged, missing, unreadable
from formwork.beton.provenance import Provenance
from formwork.errors import BetonError
from formwork.escapes import printable

PARTS = "part-*.beton"  # in a folder


def open_beton(path: Path | Sequence[Path]) -> Beton:
    """Read and check the tables of a beton, one of ours or one of FFCV's own writer.

    Image data is not read here: it is checked sample by sample when it is read.

    Args:
        path: a file, a folder of parts, or several of them, which are read as one.

    Raises:
        BetonError: a file is missing, must not be read, is cut short or damaged, or is no beton that can be used.
    """
    if not isinstance(path, Path):
        if not path:
            raise BetonError("There is no beton to be opened: the list of them is empty.")
        return join(path[0], [open_beton(one) for one in path])
    if not path.is_dir():
        return _open(path)
    parts = sorted(path.glob(PARTS))
    if not parts:
        raise BetonError(f"{path} is a folder without parts. Run `dvc pull {path}`, or `dvc repro convert`.")
    betons = [_open(part) for part in parts]
    for beton in betons:
        if beton.keys is None:
            raise damaged(beton.files[0].path, "it is no part")
        if beton.provenance and betons[0].provenance and beton.provenance.facts != betons[0].provenance.facts:
            raise damaged(beton.files[0].path, f"it was written in another way than {parts[0].name}")
    return join(path, betons)


def identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _open(path: Path) -> Beton:
    try:
        with path.open("rb", buffering=0) as file:
            return _read(path, file)
    except FileNotFoundError as error:
        raise missing(path) from error
    except PermissionError as error:
        raise BetonError(f"{path} must not be read by this user. Run `chmod 644 {path}`.") from error
    except OSError as error:
        raise unreadable(path, error) from error


class _Tables:
    """Reads tables of an open file."""

    def __init__(self, path: Path, file: BinaryIO):
        self.path = path
        self.descriptor = file.fileno()
        self.identity = identity(os.fstat(self.descriptor))
        self.length = self.identity[2]

    def read(self, dtype: np.dtype, count: int, offset: int) -> np.ndarray:
        """(count,) entries from a place in the file on. Raises BetonError: the file ends before."""
        if offset + count * dtype.itemsize > self.length:
            raise damaged(self.path, f"it has only {self.length} bytes")
        table = np.empty(count, dtype)
        room = memoryview(cast(Any, table.view(np.uint8).reshape(-1)))
        done = 0
        while done < len(room):
            more = os.preadv(self.descriptor, [room[done:]], offset + done)
            if not more:
                raise damaged(self.path, "it was cut short while it was opened")
            done += more
        return table


def _read(path: Path, file: BinaryIO) -> Beton:
    tables = _Tables(path, file)
    length = tables.length
    header = tables.read(layout.HEADER, 1, 0)[0]
    if header["version"] != layout.VERSION:
        raise damaged(path, f"its format version is {header['version']}, not {layout.VERSION}")
    page_size = int(header["page_size"])
    if not layout.MIN_PAGE_SIZE <= page_size < layout.MAX_PAGE_SIZE or page_size & (page_size - 1):
        raise damaged(path, f"its page size is {page_size}")
    fields = tables.read(layout.FIELD, int(header["num_fields"]), layout.HEADER.itemsize)
    type_ids = _type_ids(path, fields)
    image_field, label_field = type_ids.index(layout.IMAGE_FIELD), type_ids.index(layout.INT_FIELD)
    rows = layout.metadata_type([layout.FIELD_TYPES[type_id] for type_id in type_ids])
    metadata_start = layout.HEADER.itemsize + fields.nbytes
    metadata = tables.read(rows, int(header["num_samples"]), metadata_start)
    images = metadata[f"f{image_field}"]
    start = int(header["alloc_table_ptr"])
    if not 0 < start <= length or (length - start) % layout.ALLOCATION.itemsize:
        raise damaged(path, f"it has {length} bytes, which cannot be all of them")
    allocations = tables.read(layout.ALLOCATION, (length - start) // layout.ALLOCATION.itemsize, start)
    if len(metadata) == 0:
        raise damaged(path, "it holds no samples")
    offsets, sizes = images["data_ptr"].astype(np.int64), _sizes(path, images["data_ptr"], allocations)
    modes, widths, heights = images["mode"].copy(), images["width"].astype(np.int64), images["height"].astype(np.int64)
    provenance, checksums, keys = _provenance(tables, fields, metadata, allocations)
    if offsets.min() < metadata_start + metadata.nbytes or sizes.min() < 1 or np.any(sizes > start - offsets):
        raise damaged(path, "samples lie outside of it")
    if np.any(offsets // page_size != (offsets + sizes - 1) // page_size):
        raise damaged(path, "samples lie across pages")
    if modes.max() > layout.RAW:
        raise damaged(path, f"samples have an unknown mode {modes.max()}")
    if min(widths.min(), heights.min()) < 1:
        raise damaged(path, "samples have no pixels")
    if np.any((widths * heights * 3 != sizes)[modes == layout.RAW]):
        raise damaged(path, "the sizes of raw samples do not fit their pixels")
    order = np.argsort(offsets, kind="stable")
    padding = np.zeros(len(offsets), np.int64)
    if provenance is not None and provenance.version != 1:
        if tables.read(np.dtype("u1"), int(offsets.min()) - provenance.end, provenance.end).any():
            raise damaged(path, "there is something between its tables and its first sample")
        padding[order[:-1]] = np.diff(offsets[order]) - sizes[order[:-1]]
    return Beton(
        path=path,
        files=(BetonFile(path, tables.identity, page_size, _names(fields), image_field, label_field, provenance),),
        file=np.zeros(len(offsets), np.int32),
        modes=modes,
        widths=widths,
        heights=heights,
        labels=metadata[f"f{label_field}"].astype(np.int64),
        offsets=offsets,
        sizes=sizes,
        padding=padding,
        stored_checksums=checksums,
        passed_through=None if keys is None else keys["passed_through"].copy(),
        keys=None if keys is None else np.ascontiguousarray(keys["sha256"]),
        storage_order=order,
    )


def _type_ids(path: Path, fields: np.ndarray) -> list[int]:
    """Of fields that are an image, a label, and others that can stand beside them."""
    type_ids = fields["type_id"].tolist()
    if any(type_id not in layout.FIELD_NAMES for type_id in type_ids):
        raise damaged(path, f"it has a field of an unknown type, {type_ids}")
    one_of_each = type_ids.count(layout.IMAGE_FIELD) == type_ids.count(layout.INT_FIELD) == 1
    if one_of_each and all(type_id in layout.FIELD_TYPES for type_id in type_ids):
        return type_ids
    if any(_is_marked(fields)):
        raise damaged(path, "its fields are not an image and a label")
    found = [
        f"{printable(name)} ({layout.FIELD_NAMES[type_id]})"
        for name, type_id in zip(_names(fields), type_ids, strict=True)
    ]
    raise BetonError(
        f"{path} cannot be used: its fields are {', '.join(found) or 'none'}. Write it with one RGBImageField, the "
        "image, and one IntField, the label; fields of FFCV's other classes may stand beside them, and are not read."
    )


def _names(fields: np.ndarray) -> tuple[str, ...]:
    return tuple(bytes(name).rstrip(b"\0").decode("ascii", "replace") for name in fields["name"])


def _is_marked(fields: np.ndarray) -> list[bool]:
    """By field, whether its descriptor has the mark of a beton with provenance."""
    return [bytes(arguments).startswith(origin.MAGIC) for arguments in fields["arguments"]]


def _sizes(path: Path, offsets: np.ndarray, allocations: np.ndarray) -> np.ndarray:
    """(N,) int64 bytes of each sample's image: the allocation table has them, in no order, with an entry for each image
    and for each value of other fields that lies in the pages."""
    own = np.arange(len(offsets))
    if np.array_equal(allocations["ptr"], offsets) and np.array_equal(allocations["sample_id"], own):  # as in parts
        return allocations["size"].astype(np.int64)
    by_place = allocations[np.argsort(allocations["ptr"], kind="stable")]
    places = np.searchsorted(by_place["ptr"], offsets, side="right") - 1  # the last there: those before it are empty
    found = by_place[places] if len(by_place) else by_place
    if len(found) != len(own) or np.any(found["ptr"] != offsets) or np.any(found["sample_id"] != own):
        raise damaged(path, "its allocation table does not fit its samples")
    return found["size"].astype(np.int64)


def _provenance(
    tables: _Tables, fields: np.ndarray, metadata: np.ndarray, allocations: np.ndarray
) -> tuple[Provenance | None, np.ndarray | None, np.ndarray | None]:
    """Read the provenance after the metadata, if there is one, with checksums and keys, and check by its digest all
    that is not a sample."""
    path = tables.path
    start = layout.HEADER.itemsize + fields.nbytes + metadata.nbytes
    room = start + origin.PROVENANCE.itemsize <= tables.length
    block = tables.read(origin.PROVENANCE, 1, start)[0] if room else None
    if block is None or block["magic"] != origin.MAGIC:
        if any(_is_marked(fields)):
            raise damaged(path, "its provenance is not where it should be")
        return None, None, None
    version, digest = int(block["version"]), block["digest"].tobytes()
    if version not in origin.CHECKSUMS:
        raise damaged(path, f"its provenance is of version {version}, not {origin.VERSION} or {origin.PART}")
    start += origin.PROVENANCE.itemsize
    text = tables.read(np.dtype("u1"), int(block["json_bytes"]), start).tobytes()
    start += len(text)
    checksums = tables.read(origin.CHECKSUMS[version], len(metadata), start)
    start += checksums.nbytes
    keys = tables.read(origin.KEY, len(metadata) if version == origin.PART else 0, start)
    head = tables.read(np.dtype("u1"), layout.HEADER.itemsize + fields.nbytes, 0)
    if origin.digest_of([head, metadata, text, checksums, keys, allocations]) != digest:
        raise damaged(path, "its tables do not have the checksum that they were written with")
    provenance = Provenance(json.loads(text), version, start + keys.nbytes, digest)
    return provenance, checksums, keys if version == origin.PART else None
