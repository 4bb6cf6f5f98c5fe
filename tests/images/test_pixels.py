"""One meaning for each kind of image file."""

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import formwork
from formwork.images.pixels import UndefinedPixels, read_rgb, to_rgb
from tests.make_images import ORIENTATION, UPRIGHT, photo


def written(image: Image.Image, format: str = "PNG", **options: object) -> io.BytesIO:  # noqa: A002
    """The file, as Pillow writes it."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file


def pixels(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8."""
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.fixture
def colours() -> Image.Image:
    return photo(np.random.default_rng(0), 9, 5)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey_fills_all_channels(colours: Image.Image, mode: str) -> None:
    grey = colours.convert(mode)

    rgb = pixels(read_rgb(written(grey)))

    expected = np.asarray(grey.convert("L"))
    assert (rgb == expected[..., None]).all()
    assert np.ptp(expected) > 100


@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")
@pytest.mark.parametrize(
    ("transparency", "first", "others"),
    [
        (None, [255, 0, 0], [0, 255, 0]),
        (0, [255, 255, 255], [0, 255, 0]),
        (b"\x00\x80\xff", [255, 255, 255], [127, 255, 127]),
    ],
)
def test_a_palette_is_looked_up(transparency: int | bytes | None, first: list[int], others: list[int]) -> None:
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8)).convert("P")
    image.putpalette(sum(palette, ()))
    options = {} if transparency is None else {"transparency": transparency}

    rgb = pixels(read_rgb(written(image, **options)))

    assert rgb.tolist() == [[first, others], [[0, 0, 255], others]]


def test_transparency_shows_white(colours: Image.Image) -> None:
    alpha = np.arange(45, dtype=np.uint8).reshape(5, 9) * 5
    alpha[0] = 255
    see_through = colours.copy()
    see_through.putalpha(Image.fromarray(alpha))

    rgb = pixels(read_rgb(written(see_through)))

    share = alpha[..., None] / 255
    assert (rgb[0] == pixels(colours)[0]).all()
    assert np.abs(rgb - (pixels(colours) * share + 255 * (1 - share))).max() <= 1


def test_of_16_bits_the_upper_8_count() -> None:
    values = np.array([[0, 255, 256, 65535]], dtype=np.uint16)

    assert pixels(read_rgb(written(Image.fromarray(values))))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_pixels_of_no_agreed_range_are_refused(mode: str) -> None:
    with pytest.raises(UndefinedPixels, match=f"mode {mode}"):
        read_rgb(written(Image.new(mode, (2, 2)), "TIFF"))


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(colours: Image.Image, format: str) -> None:  # noqa: A002
    other = colours.transpose(Image.Transpose.ROTATE_180)

    with pytest.raises(UndefinedPixels, match="2 frames"):
        read_rgb(written(colours, format, save_all=True, append_images=[other]))


def test_the_first_picture_of_a_phones_jpeg_counts(colours: Image.Image) -> None:
    other = colours.transpose(Image.Transpose.ROTATE_180)

    rgb = pixels(read_rgb(written(colours, "MPO", save_all=True, append_images=[other])))

    assert (rgb == pixels(read_rgb(written(colours, "JPEG")))).all()


def test_images_too_large_are_refused() -> None:
    with pytest.raises(UndefinedPixels, match="20000 x 20000 pixels, above the limit"):
        read_rgb(written(Image.new("1", (20000, 20000))))


def test_cmyk_becomes_rgb() -> None:
    image = Image.new("CMYK", (2, 2), (0, 255, 255, 0))

    assert pixels(read_rgb(written(image, "TIFF"))).tolist() == [[[255, 0, 0]] * 2] * 2


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_images_stand_upright(colours: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation

    rgb = pixels(read_rgb(written(colours, exif=exif)))

    assert (rgb == UPRIGHT[orientation](pixels(colours))).all()


def test_a_progressive_jpeg_has_the_pixels_of_a_plain_one() -> None:
    image = photo(np.random.default_rng(0), 70, 50)
    progressive, plain = (read_rgb(written(image, "JPEG", progressive=flag)) for flag in (True, False))

    assert (pixels(progressive) == pixels(plain)).all()
    assert np.abs(pixels(plain).astype(int) - pixels(image)).mean() < 3


def test_rgb_stays_as_it_is(colours: Image.Image) -> None:
    assert (pixels(to_rgb(colours)) == pixels(colours)).all()


def test_a_missing_file_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_rgb(tmp_path / "none.png")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damaged_data_is_an_oserror_or_an_image(format: str) -> None:  # noqa: A002
    """Whatever Pillow's parsers make of a damaged file, there is one kind of error to expect."""
    data = written(photo(np.random.default_rng(0), 40, 30), format).getvalue()
    refused = 0
    for position in range(0, len(data), max(len(data) // 200, 1)):
        for damaged in (data[:position], data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]):
            try:
                read_rgb(io.BytesIO(damaged))
            except OSError:
                refused += 1

    assert refused > 50


def test_pillow_warns_of_nothing(tmp_path: Path) -> None:
    """In a process of its own, because pytest has its own warning filters."""
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x010E, 2, 100, 26)  # a text of 100 bytes that are not there
    path = tmp_path / "odd.jpeg"
    path.write_bytes(written(Image.new("RGB", (2, 2)), "JPEG", exif=exif).getvalue())
    with pytest.warns(UserWarning, match="Tag data larger than file|Corrupt EXIF|Truncated File Read"):
        read_rgb(path)

    script = "import sys; from formwork.images.pixels import read_rgb; print(read_rgb(sys.argv[1]).size)"
    done = subprocess.run(
        [sys.executable, "-c", script, path],
        env=os.environ | {"PYTHONPATH": str(Path(formwork.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("(2, 2)\n", "")
