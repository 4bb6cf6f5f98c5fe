"""The conversion of an image file to 8-bit RGB, which betons and the PyTorch loader share.

docs/pixels.md has the table: which files are images, and what each kind of pixel becomes.
"""

import mmap
import warnings
from collections.abc import Iterator
from io import BytesIO
from os import PathLike
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import (  # each registers its format; Pillow itself would import every plugin that it has
    AvifImagePlugin,  # noqa: F401
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    Jpeg2KImagePlugin,  # noqa: F401
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from formwork.images import png
from formwork.images.bare import Bare, bare, webp_size
from formwork.images.orientation import ORIENTATION, from_exif, upright

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "JPEG2000": (".jp2", ".j2k", ".jpc", ".jpx", ".j2c", ".jpf"),
    "AVIF": (".avif", ".avifs"),
}
"""The supported formats, as Pillow names them, and the file name extensions of each.

Not all that Pillow opens: EPS files are programs, which it would have Ghostscript run, and formats without a signature
are found in any damaged file.
"""
FORMATS = [name for name in EXTENSIONS if name in Image.OPEN]  # Pillow may be built without WebP or AVIF
STILLS_OF_MANY_FRAMES = ("MPO",)  # a phone's JPEG, followed by other versions of the picture: the first one counts

MAX_PIXELS = 1 << 28  # 16,384 x 16,384: 0.8 GB as RGB
Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS replaces Pillow's limit, above which it warns, and raises at twice as many

MEMORY_PER_PIXEL, MORE_MEMORY = 16, 1 << 24  # bytes, together more than any decoder and what follows it take

WHITE = (255, 255, 255, 255)
CONVERTED = {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
GREY_16 = {"I;16", "I;16B", "I;16L", "I;16N"}

# Pillow warns of each file with odd metadata that changes no pixel: no user can act on that. The filter is set for the
# process, because warnings.catch_warnings is not thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")


class UndefinedPixels(OSError):
    """An image that cannot be converted to 8-bit RGB in one agreed way.

    Attributes:
        kind: "animated", "too large" or "unsupported pixels".
    """

    def __init__(self, kind: str, reason: str):
        super().__init__(reason)
        self.kind = kind


class Decoded(NamedTuple):
    """A decoded file.

    Attributes:
        rgb: upright, of mode RGB.
        mode, format: as Pillow names what the file holds.
    """

    rgb: Image.Image
    mode: str
    format: str


def read_rgb(source: str | PathLike | BinaryIO | bytes) -> Image.Image:
    """Read, decode and convert an image file, by path, opened, or as its content.

    Raises:
        OSError: it is missing, unreadable, no image, cut short, or of undefined pixels; the message says which.
        MemoryError: there is not enough, which says nothing of the file; the message says what for.
    """
    return decode(source).rgb


def decode(source: str | PathLike | BinaryIO | bytes) -> Decoded:
    """As read_rgb, with mode and format of the file."""
    content = _content(source)
    errors: list[Exception] = []
    for file in _versions(content):
        try:
            return _decode(file)
        except (UndefinedPixels, MemoryError):
            raise
        except Exception as error:  # Pillow's parsers raise many kinds on damaged data (SyntaxError, struct.error...)
            errors.append(error)
    first = errors[0]  # says what is wrong with the whole file
    if isinstance(first, OSError):
        raise first
    raise OSError(f"damaged image data: {type(first).__name__}: {first}") from first


def _content(source: str | PathLike | BinaryIO | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    if isinstance(source, (str, PathLike)):
        with open(source, "rb", buffering=0) as file:
            return file.readall()
    source.seek(0)
    return source.read()


def _versions(content: bytes) -> Iterator[Bare]:
    """The file, and where it cannot be read as it is, the same without its metadata: what changes no pixel makes no
    image bad."""
    if content.startswith(png.SIGNATURE):
        yield png.bare(content)
        return
    yield Bare(content, {})
    if without := bare(content):
        yield without


def _decode(file: Bare) -> Decoded:
    with _open(file.content) as image:
        mode, kind, (width, height) = image.mode, image.format or "", image.size
        if width * height > MAX_PIXELS:
            raise UndefinedPixels(
                "too large", f"{width} x {height} pixels, above the limit of {MAX_PIXELS / 1e6:.0f} MP"
            )
        if getattr(image, "is_animated", False) and kind not in STILLS_OF_MANY_FRAMES:
            raise UndefinedPixels("animated", f"{getattr(image, 'n_frames', 'several')} frames or pages")
        if kind == "TIFF" and from_exif(file.content) not in (None, getattr(image, "tag_v2", {}).get(ORIENTATION)):
            raise ValueError("an orientation that Pillow does not read")
        image.info.update(file.info)
        try:
            return Decoded(to_rgb(image), mode, kind)
        except UndefinedPixels:
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or ("truncated" not in str(error) and not _has_memory(width, height)):
                raise MemoryError(f"to decode {width} x {height} pixels") from error
            raise


def _has_memory(width: int, height: int) -> bool:
    """Whether there is memory for an image: some decoders call a lack of it damage."""
    try:
        mmap.mmap(-1, MEMORY_PER_PIXEL * width * height + MORE_MEMORY).close()
    except (OSError, MemoryError):
        return False
    return True


def _open(content: bytes) -> Image.Image:
    """As Image.open, but without its search for the format where that is PNG: 5 % of the time of a small image."""
    if content.startswith(png.SIGNATURE):
        try:
            return PngImagePlugin.PngImageFile(BytesIO(content))
        except SyntaxError as error:
            raise UnidentifiedImageError(f"no sound PNG header: {error}") from error
    try:
        return Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise
    except OSError as error:
        size = webp_size(content)  # of WebP alone the pixels' memory is taken here
        if size and not _has_memory(*size):
            raise MemoryError(f"to decode {size[0]} x {size[1]} pixels") from error
        raise


def to_rgb(image: Image.Image) -> Image.Image:
    """The pixels that models see: upright (EXIF orientation applied), mode RGB, 8 bits a channel.

    Of 16 bits the upper 8 are taken. Transparent pixels are laid on white. Colour profiles are not applied.

    Returns:
        A converted copy, or `image` itself where it is upright RGB already.

    Raises:
        UndefinedPixels: it holds 32-bit or floating-point values, or Lab colours.
    """
    tile = getattr(image, "tile", None)  # how the file stores the pixels; Image.load clears it
    image.load()
    image = upright(image)
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    stored = tile[0].args if tile else None
    _scale_transparent_colour(image, stored)
    if image.mode in GREY_16 or (image.mode == "I" and image.format == "PPM"):  # Pillow scales grey PPMs to 16 bits
        return _from_16_bits(image, 4 if _raw_mode(stored) == "I;12" else 8)
    if image.mode not in CONVERTED:
        raise UndefinedPixels(
            "unsupported pixels",
            f"pixels of Pillow's mode {image.mode} have no agreed range: store 8 or 16 bits a channel",
        )
    if image.has_transparency_data:
        # Pillow has no way from La to RGBA but by LA.
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, WHITE), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _raw_mode(stored: object) -> object:
    """Pillow's raw mode, from a tile's arguments: these are the raw mode, or a tuple that starts with it."""
    return stored[0] if isinstance(stored, tuple) and stored else stored


def _scale_transparent_colour(image: Image.Image, stored: object) -> None:
    """Convert the transparent colour of a PNG, which is in the file's units, to those of the 8-bit pixels."""
    colour, raw_mode = image.info.get("transparency"), _raw_mode(stored)
    if raw_mode == "RGB;16B" and isinstance(colour, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in colour)
    elif raw_mode in ("L;2", "L;4") and isinstance(colour, int):
        image.info["transparency"] = colour * 255 // (3 if raw_mode == "L;2" else 15)


def _from_16_bits(image: Image.Image, shift: int) -> Image.Image:
    """The upper 8 bits of grey of 12 or 16 bits, as Pillow, libpng and OpenCV convert colour of 16 bits."""
    values = np.asarray(image)
    grey = (values >> shift).astype(np.uint8)
    if (colour := image.info.get("transparency")) is not None:
        grey[values == colour] = WHITE[0]
    return Image.fromarray(grey).convert("RGB")
