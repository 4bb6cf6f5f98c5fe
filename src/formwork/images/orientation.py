"""How a picture lies in its file: what EXIF or XMP say of it, whatever else they hold and however it is damaged."""

import re
import struct
from collections.abc import Mapping

from PIL import Image

ORIENTATION = 0x0112  # the tag
INTEGERS = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
"""EXIF's types of whole numbers, as struct names them. The standard wants 3, writers also use others."""
EXIF_START, EXIF_PROFILE = b"Exif\0\0", "Raw profile type exif"
XMP = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([0-9])(?![0-9])""")

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of each orientation stand upright; all other values, and none, leave it as it lies."""


def upright(image: Image.Image) -> Image.Image:
    """The image as a viewer shows it; `image` itself where nothing is to be done.

    Args:
        image: loaded; its attribute `info` has the metadata.
    """
    if image.format == "TIFF":  # Pillow has turned it when it was loaded
        return image
    method = UPRIGHT.get(orientation(image.info) or 1)
    return image if method is None else image.transpose(method)


def orientation(info: Mapping) -> int | None:
    """The orientation in the metadata of an image, as Pillow keeps it in Image.info; None if there is none.

    As in Pillow, EXIF comes before XMP.
    """
    exif = info.get("exif")
    if not exif and isinstance(profile := info.get(EXIF_PROFILE), str):
        exif = exif_of_profile(profile)
    if isinstance(exif, bytes) and (value := from_exif(exif)) is not None:
        return value
    xmp = info.get("XML:com.adobe.xmp") or info.get("xmp")
    if isinstance(xmp, str):
        xmp = xmp.encode(errors="replace")
    match = XMP.search(xmp) if isinstance(xmp, bytes) else None
    return int(match[1]) if match else None


def from_exif(exif: bytes) -> int | None:
    """The orientation in EXIF data, or in a TIFF file, which has the same structure; None where it cannot be read."""
    while exif.startswith(EXIF_START):
        exif = exif[len(EXIF_START) :]
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or exif[2:4] not in (b"*\0", b"\0*") or len(exif) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    if start + 2 > len(exif):
        return None
    (count,) = struct.unpack_from(f"{order}H", exif, start)
    entries = exif[start + 2 : start + 2 + 12 * count]
    found = None
    for tag, kind, values, value in struct.iter_unpack(f"{order}HHI4s", entries[: len(entries) // 12 * 12]):
        if tag == ORIENTATION and kind in INTEGERS and values == 1:
            (found,) = struct.unpack_from(order + INTEGERS[kind], value)
    return found


def exif_of_profile(profile: str) -> bytes | None:
    """EXIF data in ImageMagick's form for PNG: three lines, and hexadecimal digits; None where it is anything else."""
    try:
        return bytes.fromhex("".join(profile.split("\n")[3:]))
    except ValueError:
        return None
