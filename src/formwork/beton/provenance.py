"""What a beton says about itself: what it was made from, with what, and a checksum of everything in it.

It lies between the metadata and the first sample, where FFCV's own reader has no reason to look:

    PROVENANCE | JSON | checksums, CHECKSUM_BYTES a sample, in the order of sample ids

Its digest covers all of the file but the samples, which have their checksums: any byte that changes is noticed.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image, features

from formwork.images.manifest import Manifest
from formwork.params import BetonParams

MAGIC = b"FORMWORK"
VERSION = 1
CHECKSUM_BYTES = 16  # of a sample's SHA-256

PROVENANCE = np.dtype([("magic", "S8"), ("version", "<u4"), ("json_bytes", "<u4"), ("digest", "u1", 32)])

CODECS = ("libjpeg_turbo", "webp", "jpg_2000", "avif")  # lossy: their pixels are a matter of their version


@dataclass(frozen=True)
class Provenance:
    """What a beton of N samples was made from.

    Attributes:
        facts: params, manifest, class names and versions, as `describe` gives them.
        checksums: (N, CHECKSUM_BYTES) uint8, the start of the SHA-256 of each sample's bytes.
    """

    facts: dict[str, Any]
    checksums: np.ndarray

    @property
    def manifest_sha256(self) -> str:
        return self.facts["manifest"]["sha256"]

    def is_intact(self, sample: int, data: bytes | memoryview | np.ndarray) -> bool:
        """Whether these are the bytes that were written for a sample."""
        return checksum(data) == self.checksums[sample].tobytes()


def describe(manifest: Manifest, params: BetonParams) -> dict[str, Any]:
    """All that decides the bytes of a beton."""
    return {
        "manifest": {"sha256": manifest.digest, "images": len(manifest)},
        "params": params.model_dump(),
        "class_names": {str(label): name for label, name in sorted(_class_names(manifest).items())},
        "software": {"pillow": Image.__version__} | {name: features.version(name) for name in CODECS},
    }


def checksum(data: bytes | memoryview | np.ndarray) -> bytes:
    return hashlib.sha256(cast(bytes, data)).digest()[:CHECKSUM_BYTES]


def encode_json(facts: dict[str, Any]) -> bytes:
    return json.dumps(facts, sort_keys=True).encode()


def header(text: bytes, digest: bytes) -> bytes:
    return np.array((MAGIC, VERSION, len(text), np.frombuffer(digest, np.uint8)), dtype=PROVENANCE).tobytes()


def digest_of(tables: Iterable[bytes | np.ndarray]) -> bytes:
    """SHA-256 of the header, field descriptors, metadata, JSON, checksums and allocation table, in this order."""
    state = hashlib.sha256()
    for part in tables:
        state.update(cast(bytes, part))
    return state.digest()


def _class_names(manifest: Manifest) -> dict[int, str]:
    return {row.label: row.class_name for row in manifest.rows}
