"""Small pictures of image files, for pages."""

from io import BytesIO

from PIL import Image

from formwork.images.pixels import read_rgb
from formwork.tools.report.page import as_uri

SIDE = 176  # pixels of the longer side, at most
LOSSLESS = 64  # pixels a side up to which a picture is kept as it is


def thumbnail(content: bytes) -> str | None:
    """A data URI of an image file's picture, scaled down to SIDE; None where it is no image that can be read."""
    try:
        image = read_rgb(content)
    except (OSError, ValueError, SyntaxError):
        return None
    image.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    kind = "PNG" if max(image.size) <= LOSSLESS else "JPEG"
    file = BytesIO()
    image.save(file, kind, quality=80)
    return as_uri(file.getvalue(), f"image/{kind.lower()}")
