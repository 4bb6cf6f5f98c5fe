"""How many bytes images will take in a beton, before they are encoded: by this a split is cut into parts."""

from collections.abc import Callable

import numpy as np
import pyarrow.compute as pc

from formwork.beton.format import MAX_SIDE
from formwork.images.manifest import Manifest
from formwork.params import BetonParams

SAMPLE = 64  # images that are encoded to learn how many bytes a pixel takes


def estimated_sizes(
    manifest: Manifest, rows: np.ndarray, params: BetonParams, stored_size: Callable[[int], int]
) -> np.ndarray:
    """Bytes of some images as they will be stored, roughly; a pure function of the images and params.

    Known are raw pixels, and JPEG files that are stored as they are; of others, SAMPLE are looked at.

    Args:
        rows: (M,) of the manifest, in storage order.
        stored_size: bytes of a row as it is stored.

    Returns:
        (M,) float64.
    """
    sides = np.stack([manifest.numbers(name)[rows].astype(np.int64) for name in ("width", "height")], axis=1)
    most = params.max_resolution or MAX_SIDE
    pixels = scaled_sides(sides, most).prod(axis=1)
    raw = 3.0 * pixels
    if params.write_mode == "raw":
        return raw
    files = manifest.numbers("bytes")[rows].astype(np.float64)
    kinds = {"format": "JPEG", "mode": "RGB"}
    of_kind = [pc.equal(manifest.table.column(name), kind).to_numpy()[rows] for name, kind in kinds.items()]
    passes = np.logical_and(*of_kind) & (sides.max(axis=1) <= most) & params.passthrough
    jpeg = files.copy()
    if len(others := np.flatnonzero(~passes)):
        looked_at = others[:SAMPLE]
        stored = np.array([stored_size(int(row)) for row in rows[looked_at].tolist()], np.float64)
        jpeg[others] = pixels[others] * (stored.sum() / pixels[looked_at].sum())
    if params.write_mode == "smart":
        return np.where(passes & (raw <= params.smart_threshold * jpeg), raw, jpeg)
    if params.write_mode == "proportion":
        share = params.compress_probability
        return np.where(passes, share * jpeg + (1 - share) * raw, jpeg)
    return jpeg


def scaled_sides(sides: np.ndarray, max_resolution: int) -> np.ndarray:
    """(N, 2) int64 pixels, the sides (N, 2) of images as formwork.conversion.encode.scale_down leaves them."""
    longer = sides.max(axis=1, keepdims=True)
    scaled = np.maximum(sides * max_resolution // np.maximum(longer, 1), 1)
    return np.where(longer > max_resolution, scaled, sides)
