"""What an image file means: the one conversion to 8-bit RGB, used for betons and by the PyTorch loader alike."""

import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, ImageOps

Image.MAX_IMAGE_PIXELS = None  # a dataset is its user's own choice: no guard against decompression bombs

# Pillow warns about odd metadata that changes no pixel, once a file: no user can act on that. Said once and for all,
# because warnings.catch_warnings is not safe on threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def to_rgb(image: Image.Image) -> Image.Image:
    """The pixels that models see: upright (EXIF orientation applied), mode RGB, 8 bits a channel."""
    image.load()
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # else exif_transpose would copy every pixel
        image = ImageOps.exif_transpose(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def read_rgb(path: Path | BinaryIO) -> Image.Image:
    """Read, decode and convert an image file, or one opened already.

    Raises:
        OSError: it is missing, unreadable or no whole image; the message says which.
    """
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except OSError:
        raise
    except Exception as error:  # Pillow's parsers raise many kinds on damaged data (SyntaxError, struct.error...)
        raise OSError(f"damaged image data: {type(error).__name__}: {error}") from error
