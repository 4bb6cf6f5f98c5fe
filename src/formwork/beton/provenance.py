"""What a beton says about itself: what it was made from, with what, and a checksum of everything in it.

It lies between the metadata and the first sample, where FFCV's own reader has no reason to look:

    PROVENANCE | JSON | checksums, one a sample, in the order of sample ids | keys, in parts

A part of a beton holds images whatever their labels, names and rows are: beside each sample stands a key, by which the
rows of a manifest are found in it.

Its digest covers all of the file but the samples, which have their checksums, and the zeros that fill up pages. MAGIC
also begins the arguments of both field descriptors, which FFCV leaves empty and does not read: no damage of one place
makes the file look like one of FFCV's own writer, which has neither digest nor checksums.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image, features

from formwork.beton import format as layout
from formwork.images.manifest import Manifest
from formwork.kernels.checksum import checksum as checksum_kernel
from formwork.params import BetonParams

MAGIC = b"FORMWORK"
VERSION, PART = 2, 3  # of a beton that is one file, and of a part
CHECKSUM = np.dtype("<u8")
CHECKSUMS = {1: np.dtype(("u1", 16)), VERSION: CHECKSUM, PART: CHECKSUM}
"""Type of a checksum by version: the start of a SHA-256 in betons of before, see `checksum` for those of now."""

KEY = np.dtype([("sha256", "u1", 32), ("passed_through", "?")])
"""Of the original of a sample: SHA-256 of its content, and whether the sample is that file up to its picture's end, but
for restart markers."""

TABLES = layout.METADATA.itemsize + layout.ALLOCATION.itemsize + CHECKSUM.itemsize + KEY.itemsize
"""Bytes of a sample in the tables of a part."""

PROVENANCE = np.dtype([("magic", "S8"), ("version", "<u4"), ("json_bytes", "<u4"), ("digest", "u1", 32)])

CODECS = ("libjpeg_turbo", "webp", "jpg_2000", "avif")  # lossy: their pixels are a matter of their version


@dataclass(frozen=True)
class Provenance:
    """What a beton was made from.

    Attributes:
        facts: params, software and, but for a part, manifest and class names, as `describe` gives them.
        version: a key of CHECKSUMS.
        end: where the provenance ends in the file, in bytes.
        digest: SHA-256 of the file's tables, see digest_of.
    """

    facts: dict[str, Any]
    version: int
    end: int
    digest: bytes

    @property
    def manifest_sha256(self) -> str | None:
        """None for a part."""
        return self.facts.get("manifest", {}).get("sha256")


def describe(manifest: Manifest, params: BetonParams) -> dict[str, Any]:
    """All that decides the bytes of a beton."""
    return {
        "manifest": {"sha256": manifest.images_digest, "images": len(manifest)},
        "class_names": {str(label): name for label, name in sorted(_class_names(manifest).items())},
        **describe_part(params),
    }


def describe_part(params: BetonParams) -> dict[str, Any]:
    """All that decides how an image is stored: the same facts and the same content, the same bytes."""
    ignored = {"part_mb", *({"restart_markers"} if params.write_mode == "raw" else ())}
    return {
        "params": params.model_dump(exclude=ignored),
        "software": {"pillow": Image.__version__} | {name: features.version(name) for name in CODECS},
    }


def checksum(data: bytes | memoryview | np.ndarray) -> int:
    """Of a sample's bytes, in 64 bits; see formwork.kernels.checksum_formula."""
    content = np.frombuffer(data, np.uint8)
    content.flags.writeable = False  # compiled for such memory
    return checksum_kernel(content)


def encode_json(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True).encode()


def header(version: int, text: bytes, digest: bytes) -> bytes:
    return np.array((MAGIC, version, len(text), np.frombuffer(digest, np.uint8)), dtype=PROVENANCE).tobytes()


def digest_of(tables: Iterable[bytes | np.ndarray]) -> bytes:
    """SHA-256 of the header, field descriptors, metadata, JSON, checksums, keys and allocation table, in this order."""
    state = hashlib.sha256()
    for part in tables:
        state.update(cast(bytes, part))
    return state.digest()


def _class_names(manifest: Manifest) -> dict[int, str]:
    """By label, where classes are folders: other labels may change while a beton stays."""
    if manifest.columns.from_table:
        return {}
    labels, first = np.unique(manifest.labels, return_index=True)
    names = manifest.texts("class_name")
    return {int(label): names[place] for label, place in zip(labels, first, strict=True)}
