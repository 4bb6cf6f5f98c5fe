"""Perceptual hashes: what an image shows, in 72 bytes, from the pixels that verification decodes anyway.

An image is averaged to 16 x 16 cells of the green channel, the one nearest to luminance. Of their two-dimensional
cosine transform (DCT-II, orthonormal) all frequencies below CUTOFF are kept, but for the mean. Each is multiplied by
its frequency: the spectrum of photos falls with that, so that all count alike. A hash holds these as 8-bit numbers with
one scale for all, so that brightness and contrast change little but the scale.

Mirroring an image changes the sign of every odd horizontal frequency, and cropping is a linear map: both are applied to
the hash, without the image.
"""

from bisect import bisect_left
from functools import lru_cache

import numpy as np
from PIL import Image

SIDE = 16  # cells
CUTOFF = 9  # above it, little survives scaling and JPEG
SIDES, SAMPLES = (32, 128), (2, 3, 4)
"""Samples a side of a cell: of images whose longer side has at most 32 pixels, at most 128, or more."""
SCALE_BYTES = 2  # a float16
AT_ONCE = 128  # images: their samples fit a core's cache

_ROW, _COLUMN = np.indices((SIDE, SIDE))
_DISTANCE = np.hypot(_ROW, _COLUMN)
_ORDER = np.argsort(_DISTANCE, axis=None, kind="stable")[1 : np.count_nonzero(_DISTANCE < CUTOFF)]
ROWS, COLUMNS = _ROW.ravel()[_ORDER], _COLUMN.ravel()[_ORDER]
"""(COEFFICIENTS,) the vertical and the horizontal frequency of each coefficient."""
FREQUENCIES = np.hypot(ROWS, COLUMNS)
"""(COEFFICIENTS,) of each coefficient, in half periods an image, ascending."""
MIRROR = np.where(COLUMNS % 2, -1, 1).astype(np.float32)
"""(COEFFICIENTS,) the factor of each coefficient where the image is mirrored."""
COEFFICIENTS = len(FREQUENCIES)
HASH_BYTES = COEFFICIENTS + SCALE_BYTES
STEPS = 1 << 20  # of the transform's factors, which are whole: the same sums on every machine, in any order


def _transform() -> np.ndarray:
    """(SIDE * SIDE, COEFFICIENTS) float64: from cells to coefficients."""
    k, x = np.indices((SIDE, SIDE))
    one = np.cos(np.pi * (2 * x + 1) * k / (2 * SIDE)) * np.sqrt(np.where(k == 0, 1, 2) / SIDE)
    return (one[ROWS, :, None] * one[COLUMNS, None, :]).reshape(COEFFICIENTS, -1).T


ONE_THREAD = 1 << 18  # multiplications, up to which OpenBLAS starts no threads


def times(rows: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """rows @ factors, in blocks so small that one thread does each: more would wait for the next product at full speed,
    and so cost more CPU time than all else here."""
    size = max(ONE_THREAD // factors.size, 1)
    whole = len(rows) // size * size
    blocks = rows[:whole].reshape(-1, size, rows.shape[1]) @ factors
    return np.concatenate([blocks.reshape(whole, factors.shape[1]), rows[whole:] @ factors])


TRANSFORM = _transform()
_WEIGHTED = np.rint(TRANSFORM * FREQUENCIES * STEPS)


class PerceptualHashes:
    """The hashes of many images. Of small ones the bytes are read: calls of Pillow would cost more than all else."""

    def __init__(self) -> None:
        self._sampled: dict[int, list[np.ndarray]] = {}  # by samples a side of a cell
        self._order: list[tuple[int, int]] = []  # of each image, samples a side of a cell and place among those

    def add(self, rgb: Image.Image, pixels: bytes | None = None) -> None:
        """Add an image of mode RGB.

        Args:
            pixels: its bytes, where they are at hand.
        """
        width, height = rgb.size
        samples = SAMPLES[bisect_left(SIDES, max(width, height))]
        side = samples * SIDE
        if pixels is None and max(width, height) > side:
            rgb, width, height = rgb.resize((side, side), Image.Resampling.NEAREST), side, side
        values = np.frombuffer(rgb.tobytes() if pixels is None else pixels, np.uint8)
        found = self._sampled.setdefault(samples, [])
        self._order.append((samples, len(found)))
        found.append(values.take(_places(width, height, samples)))

    def finish(self) -> list[bytes]:
        """(HASH_BYTES) of each image, in the order in which they were added."""
        hashes = {
            samples: [
                row
                for at in range(0, len(found), AT_ONCE)
                for row in _hashes(np.stack(found[at : at + AT_ONCE]), samples)
            ]
            for samples, found in self._sampled.items()
        }
        return [hashes[samples][place] for samples, place in self._order]


@lru_cache(64)
def _places(width: int, height: int, samples: int) -> np.ndarray:
    """(samples * samples, SIDE * SIDE) where the green values to look at lie among the bytes of an RGB image: each of
    the samples of a cell, in all cells. (NumPy sums rows of an array fast, and a few neighbours slowly.)"""
    rows = _along(height, samples) * (3 * width)
    places = np.add.outer(rows, _along(width, samples) * 3 + 1)
    return np.ascontiguousarray(places.transpose(0, 2, 1, 3)).reshape(samples**2, SIDE**2)


@lru_cache(256)
def _along(length: int, samples: int) -> np.ndarray:
    """(samples, SIDE) the pixels to look at along a side: in the middle of equal parts, as Pillow's NEAREST has it, but
    the same from both ends, so that a mirrored image has the mirrored hash."""
    half = (2 * np.arange(SIDE * samples // 2) + 1) * length // (2 * SIDE * samples)
    pixels = np.concatenate([half, length - 1 - half[::-1]])
    return np.ascontiguousarray(pixels.reshape(SIDE, samples).T)


def _hashes(values: np.ndarray, samples: int) -> list[bytes]:
    """values: (N, samples * samples, SIDE * SIDE) uint8."""
    cells = values.sum(axis=1, dtype=np.uint16)
    return _encode(times(cells.astype(np.float64), _WEIGHTED) / samples**2)


def _encode(weighted: np.ndarray) -> list[bytes]:
    """Hashes of coefficients times their frequencies, (N, COEFFICIENTS), in STEPS of a grey level."""
    scales = (np.abs(weighted).max(axis=1, keepdims=True) / (127 * STEPS)).astype(np.float16)
    factors = 1 / (np.maximum(scales, np.finfo(np.float16).tiny).astype(np.float64) * STEPS)
    codes = np.rint(weighted * factors).clip(-127, 127).astype(np.int8)
    rows = np.hstack([codes.view(np.uint8), scales.view(np.uint8)])
    return rows.view(f"V{HASH_BYTES}")[:, 0].tolist()


def decode_hashes(hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What hashes hold.

    Args:
        hashes: (N,) of HASH_BYTES bytes each.

    Returns:
        (N, COEFFICIENTS) int8 and (N,) float32: their product is each coefficient, in grey levels, times its frequency.
    """
    rows = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, HASH_BYTES)
    scales = np.ascontiguousarray(rows[:, COEFFICIENTS:]).view(np.float16)[:, 0].astype(np.float32)
    return rows[:, :COEFFICIENTS].view(np.int8), scales
