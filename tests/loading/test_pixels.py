"""Each line of docs/pixels.md, through both loaders: the same tensor, and the one that the table says."""

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from formwork.conversion.write import write_beton
from formwork.datasets.link import link
from formwork.images.manifest import read_manifest
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.params import BetonParams, Params
from tests.images import odd_files
from tests.loading.conftest import RESOLUTION, make_config
from tests.make_images import ORIENTATION, UPRIGHT, photo

pytestmark = pytest.mark.plain

SIZE = (RESOLUTION, RESOLUTION)
PHOTO = photo(np.random.default_rng(0), *SIZE)
PIXELS = np.asarray(PHOTO).astype(int)
GREY = np.asarray(PHOTO.convert("L")).astype(int)
RAMP = np.arange(RESOLUTION * RESOLUTION).reshape(SIZE)

Made = tuple[bytes, np.ndarray, int]
"""The file; the (H, W, 3) pixels that it means; by how many grey levels these may differ from what is computed here."""


def encode(image: Image.Image, format: str, **options: object) -> bytes:  # noqa: A002
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def rgb_of(file: bytes) -> np.ndarray:
    with Image.open(BytesIO(file)) as image:
        assert image.mode == "RGB"
        return np.asarray(image).astype(int)


def in_all_channels(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def on_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share))


def oriented(orientation: int, format: str) -> Made:  # noqa: A002
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(PHOTO, format, exif=exif), UPRIGHT[orientation](rgb_of(encode(PHOTO, format))), 0


def like_plain_jpeg(format: str = "JPEG", **options: object) -> Made:  # noqa: A002
    return encode(PHOTO, format, **options), rgb_of(encode(PHOTO, "JPEG")), 0


def lossless(format: str, **options: object) -> Made:  # noqa: A002
    return encode(PHOTO, format, **options), PIXELS, 0


def grey_jpeg() -> Made:
    file = encode(PHOTO.convert("L"), "JPEG")
    with Image.open(BytesIO(file)) as image:
        assert image.mode == "L"
        return file, in_all_channels(np.asarray(image)), 0


def one_bit(format: str) -> Made:  # noqa: A002
    return encode(Image.fromarray(GREY > 128), format), in_all_channels((GREY > 128) * 255), 0


def palette(**options: object) -> Made:
    image = Image.fromarray((RAMP % 3).astype(np.uint8)).convert("P")
    colours = np.array([[255, 0, 0], [0, 200, 0], [0, 0, 100]])
    image.putpalette(colours.ravel().tolist())
    alpha = np.full(3, 255)
    transparency = options.get("transparency")
    if isinstance(transparency, bytes):
        alpha[: len(transparency)] = list(transparency)
    elif transparency is not None:
        alpha[transparency] = 0
    file = encode(image, "PNG", **options)
    return file, on_white(colours[RAMP % 3], alpha[RAMP % 3]), 1


def alpha_channel(format: str, **options: object) -> Made:  # noqa: A002
    alpha = (RAMP % 256).astype(np.uint8)
    image = PHOTO.copy()
    image.putalpha(Image.fromarray(alpha))
    return encode(image, format, **options), on_white(PIXELS, alpha), 1


def grey_with_alpha() -> Made:
    alpha = (RAMP % 256).astype(np.uint8)
    image = Image.merge("LA", [PHOTO.convert("L"), Image.fromarray(alpha)])
    return encode(image, "PNG"), on_white(in_all_channels(GREY), alpha), 1


def transparent_colour() -> Made:
    """A PNG of RGB pixels that names one of its colours as transparent."""
    pixels = PIXELS.copy()
    pixels[3:7] = 10, 20, 30
    file = encode(Image.fromarray(pixels.astype(np.uint8)), "PNG", transparency=(10, 20, 30))
    pixels[3:7] = 255
    return file, pixels, 0


def from_cmyk(cmyk: np.ndarray) -> np.ndarray:
    return (255 - cmyk[..., :3]) * (255 - cmyk[..., 3:]) / 255


def cmyk_tiff() -> Made:
    cmyk = np.concatenate([PIXELS, in_all_channels(GREY)[..., :1] // 2], axis=2)
    return encode(Image.fromarray(cmyk.astype(np.uint8), "CMYK"), "TIFF"), from_cmyk(cmyk), 1


def adobe_jpeg(*, ycck: bool) -> Made:
    """Four channels, inverted as Adobe writes them: as they are, or the first three as luma and chroma."""
    cmyk = np.concatenate([PIXELS, in_all_channels(GREY)[..., :1] // 2], axis=2)
    file = encode(Image.fromarray(cmyk.astype(np.uint8), "CMYK"), "JPEG", quality=95)
    with Image.open(BytesIO(file)) as image:
        assert (image.mode, image.info["adobe_transform"]) == ("CMYK", 0)
        decoded = np.asarray(image).astype(int)
    assert np.abs(decoded - cmyk).mean() < 10
    if not ycck:
        return file, from_cmyk(decoded), 1
    transform = file.index(b"Adobe") + 11
    file = file[:transform] + b"\2" + file[transform + 1 :]
    y, cb, cr = np.moveaxis(255 - decoded[..., :3], 2, 0)  # what the file holds
    cb, cr = cb - 128, cr - 128
    red = np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2)
    inks = np.rint(red).clip(0, 255)  # YCCK codes 255 - ink as RGB, and Adobe inverts the inks
    return file, from_cmyk(np.concatenate([inks, decoded[..., 3:]], axis=2)), 2


def png(values: np.ndarray, colour_type: int) -> bytes:
    """A PNG of (H, W, channels) 16-bit values, which Pillow does not write."""

    def chunk(typed: bytes) -> bytes:
        return struct.pack(">I", len(typed) - 4) + typed + struct.pack(">I", zlib.crc32(typed))

    height, width = values.shape[:2]
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = [b"IHDR" + header, b"IDAT" + zlib.compress(lines), b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(chunk, parts))


def grey_16() -> Made:
    values = RAMP * 163 % 65536
    return png(values[..., None], 0), in_all_channels(values >> 8), 0


def rgb_16() -> Made:
    values = np.stack([RAMP * 163, RAMP * 50 + 255, 65535 - RAMP * 91], axis=2) % 65536
    return png(values, 2), values >> 8, 0


def gif() -> Made:
    image = PHOTO.quantize(64)
    return encode(image, "GIF"), np.asarray(image.convert("RGB")), 0


ODD_EXIF = odd_files.exif(
    (odd_files.MAKE, odd_files.RATIONAL, 1, 0),
    (odd_files.ORIENTATION, odd_files.LONG, 1, 6),
    (odd_files.X_RESOLUTION, odd_files.ASCII, 4, b"72\0\0"),
    (odd_files.RESOLUTION_UNIT, odd_files.BYTE, 1, 2),
)
ODD_CHUNKS = (
    odd_files.chunk(b"eXIf", ODD_EXIF),
    odd_files.chunk(b"iCCP", b"icc\0\0" + zlib.compress(np.random.default_rng(0).bytes(2_000_000))),
    odd_files.chunk(b"tEXt", b"transparency\0is no text", damaged=True),
    odd_files.chunk(b"tEXt", b"transparency\0is a text"),
)


def odd_metadata(format: str) -> Made:  # noqa: A002
    """On its side, among metadata that Pillow refuses, and with a film appended."""
    plain = encode(PHOTO, format)
    insert = {
        "JPEG": lambda: odd_files.with_segments(plain, odd_files.exif_segment(ODD_EXIF)),
        "PNG": lambda: odd_files.with_chunks(plain, *ODD_CHUNKS),
        "TIFF": lambda: odd_files.with_tags(plain, (odd_files.ORIENTATION, odd_files.BYTE, 1, 6)),
    }[format]
    return insert() + b"\0\0\0\x18ftypmp42" * 100, UPRIGHT[6](rgb_of(plain)), 0


PROFILE = b"a profile of no known colours"
KINDS: dict[str, Callable[[], Made]] = {
    **{f"orientation {o}.jpg": lambda o=o: oriented(o, "JPEG") for o in UPRIGHT},
    **{f"orientation {o}.png": lambda o=o: oriented(o, "PNG") for o in (3, 6)},
    "grey.jpg": grey_jpeg,
    "grey.png": lambda: (encode(PHOTO.convert("L"), "PNG"), in_all_channels(GREY), 0),
    "1 bit.png": lambda: one_bit("PNG"),
    "1 bit.tif": lambda: one_bit("TIFF"),
    "palette.png": palette,
    "palette with one transparent entry.png": lambda: palette(transparency=1),
    "palette with alpha.png": lambda: palette(transparency=b"\x00\x80\xff"),
    "alpha.png": lambda: alpha_channel("PNG"),
    "alpha.webp": lambda: alpha_channel("WEBP", lossless=True, exact=True),
    "alpha.tif": lambda: alpha_channel("TIFF"),
    "grey with alpha.png": grey_with_alpha,
    "transparent colour.png": transparent_colour,
    "cmyk.tif": cmyk_tiff,
    "cmyk.jpg": lambda: adobe_jpeg(ycck=False),
    "ycck.jpg": lambda: adobe_jpeg(ycck=True),
    "16-bit grey.png": grey_16,
    "16-bit rgb.png": rgb_16,
    "progressive.jpg": lambda: like_plain_jpeg(progressive=True),
    "with a profile.jpg": lambda: like_plain_jpeg(icc_profile=PROFILE),
    "with a profile.png": lambda: lossless("PNG", icc_profile=PROFILE),
    "two pictures.mpo": lambda: like_plain_jpeg("MPO", save_all=True, append_images=[PHOTO.rotate(90)]),
    **{f"odd metadata.{name}": lambda name=name: odd_metadata(name) for name in ("JPEG", "PNG", "TIFF")},
    "plain.png": lambda: lossless("PNG"),
    "plain.bmp": lambda: lossless("BMP"),
    "plain.tif": lambda: lossless("TIFF"),
    "plain.webp": lambda: lossless("WEBP", lossless=True),
    "plain.gif": gif,
}
NAMES = [
    "with spaces  .png",
    "\"quotes\" and 'quotes'.png",
    "a,b;c.png",
    "line\nfeed\r.png",
    "Ünï — 日本語 🐈.png",
    "e\u0301.png",
    os.fsdecode(b"caf\xe9 \xff.png"),
    "-rf $HOME `ls` *.png",
    "deep/er/folder.png",
]


def numbered(number: int) -> Made:
    """An image unlike all others."""
    pixels = PIXELS.copy()
    pixels[0, 0] = number
    return encode(Image.fromarray(pixels.astype(np.uint8)), "PNG"), pixels, 0


@pytest.fixture(scope="module")
def made() -> dict[str, Made]:
    """By path below the class folder."""
    return {name: make() for name, make in KINDS.items()} | {name: numbered(n) for n, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def loaded(made: dict[str, Made], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(3, H, W) tensors in 8-bit units by path below the class folder, of FFCVDataLoader and of PyTorchDataLoader."""
    data = tmp_path_factory.mktemp("pixels")
    raw = data / "raw"
    for folder in ("train/a", "train/b", "val/a", "val/b"):
        for name, (file, _, _) in made.items():
            path = raw / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file)
            if folder != "train/a":
                break
    link(Params.model_validate({"data": {"name": "kinds"}}), raw, data / "interim", data / "findings.csv")
    manifest = read_manifest(data / "interim/train.csv")
    write_beton(manifest, raw, data / "train.beton", BetonParams(write_mode="raw"), workers=2)
    split = SplitFiles("train", manifest, data / "train.beton", raw)
    options = make_config([{"Resize": {}}], mean=(0, 0, 0), std=(1 / 255,) * 3)
    both = [
        np.concatenate([images.numpy().copy() for images, _ in loader(split, options)])
        for loader in (FFCVDataLoader, PyTorchDataLoader)
    ]
    return {
        row.path.removeprefix("train/a/"): (ffcv, pytorch)
        for row, ffcv, pytorch in zip(manifest.rows, *both, strict=True)
        if row.class_name == "a"
    }


@pytest.mark.parametrize("name", [*KINDS, *NAMES], ids=ascii)
def test_both_loaders_give_the_pixels_of_the_table(
    made: dict[str, Made], loaded: dict[str, tuple[np.ndarray, np.ndarray]], name: str
) -> None:
    ffcv, pytorch = loaded[name]
    _, expected, tolerance = made[name]

    assert np.array_equal(ffcv, pytorch)
    assert np.abs(ffcv - expected.transpose(2, 0, 1)).max() <= tolerance + 0.01


def test_no_file_was_left_out(made: dict[str, Made], loaded: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    assert loaded.keys() == made.keys()
    assert len({ffcv.tobytes() for ffcv, _ in loaded.values()}) > len(made) / 2
