"""One image of a manifest to the bytes that a beton holds for it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formwork import limits
from formwork.beton.format import JPG, MAX_SIDE, RAW
from formwork.beton.provenance import checksum
from formwork.conversion.passthrough import plain_size, without_appendix
from formwork.errors import BetonError
from formwork.escapes import printable
from formwork.images.containers import read_image
from formwork.images.manifest import chosen_by_hash
from formwork.images.pixels import read_rgb
from formwork.images.row import Row
from formwork.kernels import libjpeg
from formwork.kernels.decode import decode
from formwork.kernels.jpeg.restart import restart_interval, with_restart_markers
from formwork.kernels.resize import resize
from formwork.params import BetonParams

BLOCKS_OF_UNIT = {444: (1, 1), 422: (2, 1), 420: (2, 2)}
"""By chroma subsampling: blocks of luma in a unit, across and down."""


@dataclass(frozen=True, slots=True)
class Stored:
    """mode is JPG or RAW; width and height in pixels; data a JPEG file, or rows of 8-bit RGB pixels; passed_through
    whether it is the source file itself, up to the end of its picture, but for restart markers."""

    mode: int
    width: int
    height: int
    data: bytes
    checksum: int
    passed_through: bool = False


def encode(row: Row, raw: Path, params: BetonParams) -> Stored:
    """Read, check, scale down and encode one image; a pure function of the file's content and params.

    Raises:
        BetonError: the file is missing or no longer what the manifest says, or there is not enough memory for it.
    """
    try:
        return _encode(row, raw, params)
    except MemoryError as error:
        purpose = f"to convert {row.width} x {row.height} pixels"
        raise BetonError(limits.no_memory(printable(raw / row.path), purpose)) from error


def _encode(row: Row, raw: Path, params: BetonParams) -> Stored:
    path = f"{raw}/{row.path}"  # no Path: of small images, each counts
    try:
        content = read_image(raw, row.path, row.span)
    except OSError as error:
        advice = f"Run `dvc pull {raw}`, or `dvc repro` to list the images anew."
        raise BetonError(limits.unreadable(printable(path), error, advice)) from error
    if hashlib.sha256(content).hexdigest() != row.sha256:
        raise BetonError(
            f"{printable(path)} changed after its manifest was made. Run `dvc repro` to list the images anew."
        )
    size = plain_size(content)
    passes = params.passthrough and size is not None and max(size) <= (params.max_resolution or MAX_SIDE)
    if passes and size is not None:
        (width, height), jpeg = size, without_appendix(content)
        if params.restart_markers == "all" and _stores_jpg(row, params, width * height * 3, 0):
            jpeg = with_restart_markers(jpeg)
        if _stores_jpg(row, params, width * height * 3, len(jpeg)):
            return Stored(JPG, width, height, jpeg, checksum(jpeg), passed_through=True)
    try:
        pixels = scale_down(_read(content, size), params.max_resolution)
    except OSError as error:
        raise BetonError(
            f"{printable(path)} cannot be read: {error}. Run `dvc repro -f link` to list all bad images."
        ) from error
    height, width, _ = pixels.shape
    if max(height, width) > MAX_SIDE:
        raise BetonError(
            f"{printable(path)} is {width} x {height} pixels, and a beton holds {MAX_SIDE} at most. "
            "Set ffcv.beton.max_resolution in params.yaml."
        )
    mode, data = (RAW, pixels.tobytes()) if passes else _store(pixels, row, params)
    return Stored(mode, width, height, data, checksum(data))


def scale_down(pixels: np.ndarray, max_resolution: int | None) -> np.ndarray:
    """Scale (H, W, 3) uint8 so that the longer side is at most max_resolution pixels; as the PyTorch loader scales."""
    height, width, _ = pixels.shape
    longer = max(height, width)
    if max_resolution is None or longer <= max_resolution:
        return pixels
    scaled = np.empty((*(max(side * max_resolution // longer, 1) for side in (height, width)), 3), np.uint8)
    whole = (0, 0, width, height)
    resize(pixels, np.array(whole, np.float32), np.array(whole, np.int32), scaled)
    return scaled


def _read(content: bytes, jpeg_size: tuple[int, int] | None) -> np.ndarray:
    """(H, W, 3) uint8, the pixels that read_rgb gives."""
    pixels = decode(content, *jpeg_size) if jpeg_size else None
    return np.array(read_rgb(content)) if pixels is None else pixels


def _store(pixels: np.ndarray, row: Row, params: BetonParams) -> tuple[int, bytes]:
    # Encoded only where it can matter: other modes know without.
    if params.write_mode != "smart" and not _stores_jpg(row, params, pixels.nbytes, 0):
        return RAW, pixels.tobytes()
    height, width, _ = pixels.shape
    units = BLOCKS_OF_UNIT[params.chroma_subsampling]
    interval = restart_interval(width, height, *units) if params.restart_markers != "none" else 0
    jpeg = libjpeg.encode(pixels, params.jpeg_quality, params.chroma_subsampling, interval)
    return (JPG, jpeg) if _stores_jpg(row, params, pixels.nbytes, len(jpeg)) else (RAW, pixels.tobytes())


def _stores_jpg(row: Row, params: BetonParams, raw_size: int, jpg_size: int) -> bool:
    """Whether an image of these sizes in bytes is stored as JPEG."""
    if params.write_mode == "smart":
        return raw_size > params.smart_threshold * jpg_size
    if params.write_mode == "proportion":
        # A draw that belongs to the content: the same whatever else the dataset holds, and wherever the image is moved.
        return chosen_by_hash(f"{params.seed} {row.sha256}".encode(), params.compress_probability)
    return params.write_mode == "jpg"
