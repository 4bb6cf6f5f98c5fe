"""One image of a manifest to the bytes that a beton holds for it."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from formwork.beton.format import JPG, MAX_SIDE, RAW
from formwork.datasets.images import read_rgb
from formwork.datasets.manifest import Row, draw, path_bytes
from formwork.errors import BetonError
from formwork.params import BetonParams


@dataclass(frozen=True)
class Stored:
    """mode is JPG or RAW; width and height in pixels; data a JPEG file, or rows of 8-bit RGB pixels."""

    mode: int
    width: int
    height: int
    data: bytes


def encode(row: Row, raw: Path, params: BetonParams) -> Stored:
    """Read, check, scale down and encode one image; a pure function of the file's content and params.

    Raises:
        BetonError: the file is missing or no longer what the manifest says.
    """
    path = raw / row.path
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BetonError(
            f"{path}: {error.strerror}. Run `dvc pull {raw}`, or `dvc repro` to list the images anew."
        ) from error
    if hashlib.sha256(content).hexdigest() != row.sha256:
        raise BetonError(f"{path} changed after its manifest was made. Run `dvc repro` to list the images anew.")
    try:
        image = scale_down(read_rgb(io.BytesIO(content)), params.max_resolution)
    except OSError as error:
        raise BetonError(f"{path} cannot be read: {error}. Run `dvc repro -f link` to list all bad images.") from error
    if max(image.size) > MAX_SIDE:
        raise BetonError(
            f"{path} is {image.width} x {image.height} pixels, and a beton holds {MAX_SIDE} at most. "
            "Set ffcv.beton.max_resolution in params.yaml."
        )
    mode, data = _store(image, row, params)
    return Stored(mode, image.width, image.height, data)


def scale_down(image: Image.Image, max_resolution: int | None) -> Image.Image:
    """Scale so that the longer side is at most max_resolution pixels; antialiased, as the PyTorch loader scales."""
    longer = max(image.size)
    if max_resolution is None or longer <= max_resolution:
        return image
    width, height = (max(side * max_resolution // longer, 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _store(image: Image.Image, row: Row, params: BetonParams) -> tuple[int, bytes]:
    raw_size = image.width * image.height * 3
    if params.write_mode == "raw" or (params.write_mode == "proportion" and not _draws_jpg(row, params)):
        return RAW, image.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=params.jpeg_quality)
    if params.write_mode == "smart" and raw_size <= params.smart_threshold * buffer.tell():
        return RAW, image.tobytes()
    return JPG, buffer.getvalue()


def _draws_jpg(row: Row, params: BetonParams) -> bool:
    """A draw that belongs to the image: the same whatever else the dataset holds."""
    return draw(f"{params.seed} {row.sha256} ".encode() + path_bytes(row.path), params.compress_probability)
