"""What a beton means, whatever its form: the file by which DVC decides whether to train again.

`train` and `evaluate` depend on data/processed/<name>/<split>.json, and not on the beton itself: the same images stored
in the same way give the same batches, in whatever order they lie and in however many files.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from formwork.beton import provenance
from formwork.beton.beton import Beton
from formwork.formats import write_json
from formwork.images.manifest import Manifest
from formwork.params import BetonParams

SAMPLE = np.dtype([("mode", "u1"), ("width", "<u4"), ("height", "<u4"), ("size", "<u8"), ("checksum", "<u8")])


def write_meaning(path: Path, manifest: Manifest, params: BetonParams, beton: Beton | None) -> None:
    """Write what a beton means as JSON: the same bytes for the same images, stored in the same way.

    Args:
        beton: whose sample i is row i of the manifest; None of a manifest without images.

    Raises:
        FormworkError: `path` cannot be written.
    """
    write_json(path, describe(manifest, params, beton))


def describe(manifest: Manifest, params: BetonParams, beton: Beton | None) -> dict[str, Any]:
    """The content of the file: which images they are, how they were to be stored, and what was stored."""
    return {
        "images": len(manifest),
        "manifest": manifest.images_digest,
        **provenance.describe_part(params),
        "samples": samples_digest(beton),
    }


def samples_digest(beton: Beton | None) -> str:
    """SHA-256 of how each sample is stored, in the order of sample ids: what a change of the code that encodes changes,
    too."""
    samples = np.zeros(0 if beton is None else len(beton), SAMPLE)
    if beton is not None:
        assert beton.checksums is not None, f"{beton.path} was not written here"
        values = (beton.modes, beton.widths, beton.heights, beton.sizes, beton.checksums)
        for name, column in zip(SAMPLE.names or (), values, strict=True):
            samples[name] = column
    return hashlib.sha256(samples.tobytes()).hexdigest()
