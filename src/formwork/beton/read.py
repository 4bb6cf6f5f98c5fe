"""Opening a beton: its tables in memory, after checking that they can be trusted."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from formwork.beton import format as layout
from formwork.beton import provenance as origin
from formwork.beton.provenance import Provenance
from formwork.errors import BetonError
from formwork.escapes import printable, shell_word
from formwork.images.manifest import Manifest
from formwork.limits import advice


@dataclass(frozen=True)
class Beton:
    """The tables of an open beton of N samples.

    Attributes:
        page_size: bytes.
        field_names: of all its fields. image_field, label_field: which of them are read.
        modes: (N,) uint8, JPG or RAW. widths, heights: (N,) int64 pixels. labels: (N,) int64.
        offsets, sizes: (N,) int64, where each sample's data lies in the file, in bytes.
        provenance: what it was made from, and checksums; None in a beton of FFCV's own writer.
    """

    path: Path
    page_size: int
    field_names: tuple[str, ...]
    image_field: int
    label_field: int
    modes: np.ndarray
    widths: np.ndarray
    heights: np.ndarray
    labels: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    provenance: Provenance | None

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def storage_order(self) -> np.ndarray:
        """(N,) int64 sample ids in the order in which they lie in the file."""
        return np.argsort(self.offsets, kind="stable")

    @cached_property
    def checksums(self) -> np.ndarray | None:
        """(N,) uint64, see formwork.kernels.checksum_formula; None in betons of before, and of FFCV's own writer."""
        known = self.provenance is not None and self.provenance.version == origin.VERSION
        return self.provenance.checksums if self.provenance and known else None

    @cached_property
    def padding(self) -> np.ndarray:
        """(N,) int64, how many zeros follow each sample's data, up to the edge of a page; 0 without `checksums`."""
        padding = np.zeros(len(self), np.int64)
        if self.checksums is not None:
            order = self.storage_order
            padding[order[:-1]] = np.diff(self.offsets[order]) - self.sizes[order[:-1]]
        return padding


def open_beton(path: Path) -> Beton:
    """Read and check the tables of a beton, one of ours or one of FFCV's own writer.

    Image data is not read here: it is checked sample by sample when it is read.

    Raises:
        BetonError: the file is missing, must not be read, is cut short or damaged, or is no beton that can be used.
    """
    try:
        return _read(path)
    except FileNotFoundError as error:
        raise missing(path) from error
    except PermissionError as error:
        raise BetonError(f"{path} must not be read by this user. Run `chmod 644 {path}`.") from error
    except OSError as error:
        raise unreadable(path, error) from error


def check_beton(beton: Beton, manifest: Manifest) -> None:
    """Raises BetonError: the beton does not hold the images of this manifest.

    Where labels come from a table, those in a beton are none, or of the time when another program wrote it.
    """
    if beton.provenance and beton.provenance.manifest_sha256 != manifest.images_digest:
        raise BetonError(
            f"{beton.path} was made from another version of {manifest.path}. Run `dvc repro convert` or `dvc pull`."
        )
    same = len(beton) == len(manifest)
    if not (same and (manifest.columns.from_table or np.array_equal(beton.labels, manifest.labels))):
        raise BetonError(
            f"{beton.path} does not belong to {manifest.path}: it holds {len(beton)} images and the manifest "
            f"{len(manifest)}, or their labels differ. Run `dvc repro convert` or `dvc pull`."
        )


def missing(path: Path) -> BetonError:
    return BetonError(f"{path} is missing. Run `dvc pull {path}`, or `dvc repro convert` to write it.")


def unreadable(path: Path, error: OSError) -> BetonError:
    """The system refuses to read a beton."""
    return BetonError(f"{path} cannot be read: {error.strerror}. {advice(error)}".rstrip())


def commands_to_mend(path: Path) -> tuple[str, str, str]:
    """For a damaged beton: what to run first, and then one of the other two, the first where it was pushed.

    DVC takes a file for the one that it wrote while its time and size are the same, and one in its cache while that is
    write-protected: it would leave what a faulty disk did, or bring it back where files are links into the cache.
    """
    file = shell_word(path)
    return f"chmod u+w {file}; touch {file}", f"dvc pull --force {file}", "dvc repro -f convert"


def how_to_mend(path: Path) -> str:
    look, pull, repro = commands_to_mend(path)
    return f"Run `{look}`, so that DVC looks at it anew, then `{pull}`, or `{repro}` where it was never pushed."


def _read(path: Path) -> Beton:
    length = path.stat().st_size
    header = _table(path, layout.HEADER, 1, 0, length)[0]
    if header["version"] != layout.VERSION:
        raise _damaged(path, f"its format version is {header['version']}, not {layout.VERSION}")
    page_size = int(header["page_size"])
    if not layout.MIN_PAGE_SIZE <= page_size < layout.MAX_PAGE_SIZE or page_size & (page_size - 1):
        raise _damaged(path, f"its page size is {page_size}")
    fields = _table(path, layout.FIELD, int(header["num_fields"]), layout.HEADER.itemsize, length)
    type_ids = _type_ids(path, fields)
    rows = layout.metadata_type([layout.FIELD_TYPES[type_id] for type_id in type_ids])
    metadata_start = layout.HEADER.itemsize + fields.nbytes
    metadata = _table(path, rows, int(header["num_samples"]), metadata_start, length)
    images = metadata[f"f{type_ids.index(layout.IMAGE_FIELD)}"]
    start = int(header["alloc_table_ptr"])
    if not 0 < start <= length or (length - start) % layout.ALLOCATION.itemsize:
        raise _damaged(path, f"it has {length} bytes, which cannot be all of them")
    allocations = _table(path, layout.ALLOCATION, (length - start) // layout.ALLOCATION.itemsize, start, length)
    beton = Beton(
        path=path,
        page_size=page_size,
        field_names=_names(fields),
        image_field=type_ids.index(layout.IMAGE_FIELD),
        label_field=type_ids.index(layout.INT_FIELD),
        modes=images["mode"].copy(),
        widths=images["width"].astype(np.int64),
        heights=images["height"].astype(np.int64),
        labels=metadata[f"f{type_ids.index(layout.INT_FIELD)}"].astype(np.int64),
        offsets=images["data_ptr"].astype(np.int64),
        sizes=_sizes(path, images["data_ptr"], allocations),
        provenance=_provenance(path, fields, metadata, allocations, length),
    )
    if len(beton) == 0:
        raise _damaged(path, "it holds no samples")
    if (
        beton.offsets.min() < metadata_start + metadata.nbytes
        or beton.sizes.min() < 1
        or np.any(beton.sizes > start - beton.offsets)
    ):
        raise _damaged(path, "samples lie outside of it")
    if np.any(beton.offsets // page_size != (beton.offsets + beton.sizes - 1) // page_size):
        raise _damaged(path, "samples lie across pages")
    if beton.modes.max() > layout.RAW:
        raise _damaged(path, f"samples have an unknown mode {beton.modes.max()}")
    if min(beton.widths.min(), beton.heights.min()) < 1:
        raise _damaged(path, "samples have no pixels")
    raw = beton.modes == layout.RAW
    if np.any((beton.widths * beton.heights * 3 != beton.sizes)[raw]):
        raise _damaged(path, "the sizes of raw samples do not fit their pixels")
    if beton.checksums is not None and beton.provenance:
        end = beton.provenance.end
        if _table(path, np.dtype("u1"), int(beton.offsets.min()) - end, end, length).any():
            raise _damaged(path, "there is something between its tables and its first sample")
    return beton


def _table(path: Path, dtype: np.dtype, count: int, offset: int, length: int) -> np.ndarray:
    if offset + count * dtype.itemsize > length:
        raise _damaged(path, f"it has only {length} bytes")
    table = np.fromfile(path, dtype=dtype, count=count, offset=offset)
    if len(table) != count:
        raise _damaged(path, "it was cut short while it was opened")
    return table


def _type_ids(path: Path, fields: np.ndarray) -> list[int]:
    """Of fields that are an image, a label, and others that can stand beside them."""
    type_ids = fields["type_id"].tolist()
    if any(type_id not in layout.FIELD_NAMES for type_id in type_ids):
        raise _damaged(path, f"it has a field of an unknown type, {type_ids}")
    one_of_each = type_ids.count(layout.IMAGE_FIELD) == type_ids.count(layout.INT_FIELD) == 1
    if one_of_each and all(type_id in layout.FIELD_TYPES for type_id in type_ids):
        return type_ids
    if any(_is_marked(fields)):
        raise _damaged(path, "its fields are not an image and a label")
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
    by_place = allocations[np.argsort(allocations["ptr"], kind="stable")]
    places = np.searchsorted(by_place["ptr"], offsets, side="right") - 1  # the last there: those before it are empty
    found = by_place[places] if len(by_place) else by_place
    own = np.arange(len(offsets))
    if len(found) != len(own) or np.any(found["ptr"] != offsets) or np.any(found["sample_id"] != own):
        raise _damaged(path, "its allocation table does not fit its samples")
    return found["size"].astype(np.int64)


def _provenance(
    path: Path, fields: np.ndarray, metadata: np.ndarray, allocations: np.ndarray, length: int
) -> Provenance | None:
    """Read the provenance after the metadata, if there is one, and check by its digest all that is not a sample."""
    start = layout.HEADER.itemsize + fields.nbytes + metadata.nbytes
    room = start + origin.PROVENANCE.itemsize <= length
    block = _table(path, origin.PROVENANCE, 1, start, length)[0] if room else None
    if block is None or block["magic"] != origin.MAGIC:
        if any(_is_marked(fields)):
            raise _damaged(path, "its provenance is not where it should be")
        return None
    version = int(block["version"])
    if version not in origin.CHECKSUMS:
        raise _damaged(path, f"its provenance is of version {version}, not {origin.VERSION}")
    start += origin.PROVENANCE.itemsize
    text = _table(path, np.dtype("u1"), int(block["json_bytes"]), start, length).tobytes()
    start += len(text)
    checksums = _table(path, origin.CHECKSUMS[version], len(metadata), start, length)
    head = _table(path, np.dtype("u1"), layout.HEADER.itemsize + fields.nbytes, 0, length)
    if origin.digest_of([head, metadata, text, checksums, allocations]) != block["digest"].tobytes():
        raise _damaged(path, "its tables do not have the checksum that they were written with")
    return Provenance(json.loads(text), version, checksums, start + checksums.nbytes)


def _damaged(path: Path, reason: str) -> BetonError:
    return BetonError(f"{path} is damaged or no beton: {reason}. {how_to_mend(path)}")
