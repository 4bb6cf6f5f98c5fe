"""The settings of ffcv.beton that are tried and what they are called; and what else a user may ask for."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from formwork.images.row import Row
from formwork.params import BetonParams

KEYS = ("write_mode", "max_resolution", "jpeg_quality", "passthrough")
"""What is varied; every other key of ffcv.beton stays as it is in params.yaml."""
WRITE_MODES = ("jpg", "smart", "proportion", "raw")
QUALITIES = (80, 90, 95)
JPEGS = ("JPEG", "MPO")  # as Pillow names them
MIN_PSNR = 35.0  # dB, that a setting must have to be picked, unless the user says otherwise
FREE_SHARE = 0.4  # of the free space, where no budget is named: DVC keeps betons twice, in the workspace and its cache
LEAST = 20  # images of any sample, for an extrapolation that is worth anything
SIDES = (2.0, 1.5, 8 / 7)  # of the training resolution: 448, 336 and 256 for 224


@dataclass(frozen=True)
class Grid:
    """What is combined with each other.

    Attributes:
        resolutions: None keeps the size.
    """

    write_modes: Sequence[str] = WRITE_MODES
    resolutions: Sequence[int | None] = ()
    qualities: Sequence[int] = QUALITIES
    passthrough: Sequence[bool] = (True, False)


@dataclass(frozen=True)
class Request:
    """What the user asked for, beside params.yaml.

    Attributes:
        images: of the sample; None: as many as take a minute or two.
        budget: bytes of all betons together; None: FREE_SHARE of the free space.
        min_psnr: dB.
        rounds: measurements of each speed.
        grid: without resolutions: those that suit the training resolution.
    """

    images: int | None = None
    budget: int | None = None
    min_psnr: float = MIN_PSNR
    rounds: int = 5
    grid: Grid = field(default_factory=Grid)


def usual_resolutions(resolution: int) -> list[int | None]:
    """Values of max_resolution to try where the user names none."""
    return [None, *(round(side * resolution) for side in SIDES)]


def combine(current: BetonParams, grid: Grid, rows: Sequence[Row]) -> list[BetonParams]:
    """All settings of a grid that can differ in what they store for these images, after the current one.

    That they do differ is for the betons to show. The write mode proportion, which lies between jpg and raw, has the
    current quality alone.
    """
    longest = max(max(row.width, row.height) for row in rows)
    smallest = min((max(row.width, row.height) for row in rows if row.format in JPEGS), default=math.inf)
    found = {_reduced(current, current, longest, smallest): current}
    for write_mode in grid.write_modes:
        qualities = [current.jpeg_quality] if write_mode == "proportion" else grid.qualities
        for values in product([write_mode], grid.resolutions, qualities, grid.passthrough):
            params = current.model_copy(update=dict(zip(KEYS, values, strict=True)))
            reduced = _reduced(params, current, longest, smallest)
            found.setdefault(reduced, reduced)
    return list(found.values())


def _reduced(params: BetonParams, current: BetonParams, longest: int, smallest_jpeg: float) -> BetonParams:
    """Params that store the same, with what makes no difference left as it is in params.yaml.

    Args:
        longest: side of any image. smallest_jpeg: the longer side of that JPEG where it is shortest.
    """
    values, limit = {}, params.max_resolution or longest
    if limit >= longest:
        values["max_resolution"] = current.max_resolution if (current.max_resolution or longest) >= longest else None
    if params.write_mode == "raw":
        values["jpeg_quality"] = current.jpeg_quality
    if params.write_mode == "raw" or smallest_jpeg > limit:  # none could be stored byte for byte
        values["passthrough"] = current.passthrough
    return params.model_copy(update=values)


def describe(params: BetonParams, longest: int) -> str:
    """ "jpg ≤ 256 px q90": a name for people.

    Args:
        longest: side of any image.
    """
    parts: list[str] = [params.write_mode]
    if params.write_mode == "proportion":
        parts[0] += f" {params.compress_probability:.0%}"
    limit = params.max_resolution or longest
    parts.append("full size" if limit >= longest else f"≤ {limit} px")
    if params.write_mode != "raw":
        parts.append(f"q{params.jpeg_quality}")
        if not params.passthrough:
            parts.append("re-encoded")
    return " ".join(parts)


def changes(params: BetonParams, current: BetonParams) -> dict[str, object]:
    """Keys of ffcv.beton whose values differ, and the new ones."""
    return {key: getattr(params, key) for key in KEYS if getattr(params, key) != getattr(current, key)}
