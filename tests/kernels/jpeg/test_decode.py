"""What is decoded has the pixels of libjpeg-turbo, bit for bit; what is unusual or damaged is refused."""

import io
import platform
import re
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from formwork.kernels import libjpeg
from formwork.kernels.decode import decode as decode_whole
from formwork.kernels.jpeg import decode as module
from formwork.kernels.jpeg.decode import LARGEST, SLACK, memory_needed, new_decoder
from formwork.kernels.jpeg.huffman import ROOM, unstuff
from tests.make_images import noise, photo

SAMPLINGS = ("4:4:4", "4:2:2", "4:2:0", "grey")
NARROW = 5  # pixels: below, chroma that was sampled once for two columns is enlarged in another way
Tables = tuple[np.ndarray, ...]
Draw = Callable[[np.random.Generator, int, int], Image.Image]


@pytest.fixture(scope="module")
def decoder() -> Tables:
    """One for all images: each leaves its tables to the next."""
    return new_decoder()


def jpeg(image: Image.Image, sampling: str = "4:2:0", **options: object) -> bytes:
    buffer = io.BytesIO()
    if sampling == "grey":
        image.convert("L").save(buffer, "JPEG", **options)
    else:
        image.save(buffer, "JPEG", subsampling=sampling, **options)
    return buffer.getvalue()


def decode(
    decoder: Tables,
    content: bytes,
    width: int,
    height: int,
    part: tuple[int, int, int, int] | None = None,
    whole: bool = True,
) -> np.ndarray | None:
    """(H, W, 3) uint8, of which a part (left, top, right, bottom) means something; None if it was refused."""
    data = np.frombuffer(content, np.uint8).copy()
    left, top, right, bottom = part or (0, 0, width, height)
    memory = np.full(memory_needed(height, width, data.size), 0xA5, np.uint8)
    pixels = np.zeros(3 * height * width + SLACK, np.uint8)
    if not module.decode(data, height, width, top, bottom, left, right, whole, decoder, memory, pixels):
        return None
    return pixels[:-SLACK].reshape(height, width, 3)


def checkers(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Black and white pixels: the largest differences that there are."""
    return Image.fromarray(np.repeat(rng.integers(0, 2, (height, width, 1), dtype=np.uint8) * 255, 3, axis=2))


def blocks(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Blocks of one colour: nothing to transform."""
    colours = rng.integers(0, 256, (-(-height // 16), -(-width // 16), 3), dtype=np.uint8)
    return Image.fromarray(np.kron(colours, np.ones((16, 16, 1), np.uint8))[:height, :width])


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("draw", [blocks, photo, noise, checkers])
def test_pixels_are_those_of_libjpeg_turbo(decoder: Tables, draw: Draw, sampling: str, optimize: bool) -> None:
    rng = np.random.default_rng(0)
    sizes = [(NARROW, 1), (7, 8), (16, 16), (17, 33), (200, 9), *rng.integers(NARROW, 80, (40, 2)).tolist()]
    for width, height in sizes:
        content = jpeg(draw(rng, width, height), sampling, optimize=optimize, quality=int(rng.integers(1, 101)))
        assert np.array_equal(decode(decoder, content, width, height), libjpeg.decode(content, width, height))


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_narrow_images_are_decoded_alike_or_not_at_all(decoder: Tables, sampling: str) -> None:
    rng = np.random.default_rng(0)
    decoded = 0
    for width in range(1, NARROW):
        for height in (1, 2, 9):
            content = jpeg(noise(rng, width, height), sampling)
            pixels = decode(decoder, content, width, height)
            if pixels is not None:
                assert np.array_equal(pixels, libjpeg.decode(content, width, height))
                decoded += 1
    assert decoded == (12 if sampling in ("4:4:4", "grey") else 0)


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_part_is_what_the_whole_has_there(decoder: Tables, sampling: str) -> None:
    """Whatever the restart interval, and whether or not the rest is read."""
    rng = np.random.default_rng(0)
    width, height = 75, 58
    for interval in (0, 1, 2, 3, 5, 7, 10, 1000):  # 5 and 10: a row of units
        content = jpeg(noise(rng, width, height), sampling, restart_marker_blocks=interval)
        whole = libjpeg.decode(content, width, height)
        for number in range(40):
            (left, right), (top, bottom) = (np.sort(rng.choice(size + 1, 2, replace=False)) for size in (width, height))
            pixels = decode(decoder, content, width, height, (left, top, right, bottom), whole=number % 2 == 0)
            assert np.array_equal(pixels[top:bottom, left:right], whole[top:bottom, left:right])


@pytest.mark.parametrize("blocks", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_restart_markers(decoder: Tables, sampling: str, blocks: int) -> None:
    rng = np.random.default_rng(0)
    for width, height in [(40, 30), (5, 1), (16, 16), (130, 70)]:
        content = jpeg(noise(rng, width, height), sampling, restart_marker_blocks=blocks)
        assert b"\xff\xdd\x00\x04" in content
        assert np.array_equal(decode(decoder, content, width, height), libjpeg.decode(content, width, height))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="libjpeg-turbo does it otherwise elsewhere")
@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("quality", [1, 30, 100])
def test_coefficients_that_no_photo_has_wrap_and_saturate_alike(decoder: Tables, sampling: str, quality: int) -> None:
    """Quantisation tables made 255 all over: what is multiplied with them does not fit into 16 bits any more."""
    rng = np.random.default_rng(0)
    for draw in (blocks, checkers, noise, photo):
        content = bytearray(jpeg(draw(rng, 40, 30), sampling, quality=quality))
        at = 0
        while (at := content.find(b"\xff\xdb\x00\x43", at)) >= 0:
            content[at + 5 : at + 5 + 64] = b"\xff" * 64
            at += 4
        pixels = libjpeg.decode(bytes(content), 40, 30)
        assert np.array_equal(decode(decoder, bytes(content), 40, 30), pixels)


def test_tables_of_one_image_are_not_those_of_the_next() -> None:
    """Also after an image whose own tables are no good."""
    rng = np.random.default_rng(0)
    decoder = new_decoder()
    usual, own = jpeg(photo(rng, 40, 30)), jpeg(noise(rng, 40, 30), optimize=True)
    broken = bytearray(usual)
    table = usual.index(b"\xff\xc4") + 5
    broken[table : table + 2] = b"\x03\x00"  # three codes of one bit
    for content in (usual, own, usual, bytes(broken), usual, own, own):
        pixels = decode(decoder, content, 40, 30)
        if content == broken:
            assert pixels is None
        else:
            assert np.array_equal(pixels, libjpeg.decode(content, 40, 30))


IMAGE = noise(np.random.default_rng(0), 40, 30)
USUAL = jpeg(IMAGE)
RESTARTED = jpeg(IMAGE, restart_marker_blocks=2)
SCAN = USUAL.index(b"\xff\xda") + 14


def changed(offset: int, value: int, content: bytes = USUAL) -> bytes:
    return content[:offset] + bytes([value]) + content[offset + 1 :]


def adobe(transform: int) -> bytes:
    body = b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform)
    return USUAL[:2] + b"\xff\xee" + struct.pack(">H", len(body) + 2) + body + USUAL[20:]  # in place of JFIF's


def cmyk() -> bytes:
    buffer = io.BytesIO()
    IMAGE.convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(jpeg(IMAGE, progressive=True), id="progressive"),
        pytest.param(RESTARTED.replace(b"\xff\xd1", b"\xff\xd2"), id="restart markers mixed up"),
        pytest.param(RESTARTED.replace(b"\xff\xd1", b"\0\0"), id="no restart marker"),
        pytest.param(RESTARTED.replace(b"\xff\xd1", b"\0\xff\xd1"), id="needless bytes within"),
        pytest.param(cmyk(), id="CMYK"),
        pytest.param(adobe(0), id="RGB"),
        pytest.param(adobe(2), id="a colour transform that does not fit"),
        pytest.param(changed(USUAL.index(b"\xff\xc0") + 4, 12), id="12 bits"),
        pytest.param(changed(USUAL.index(b"\xff\xc0") + 11, 0x41), id="4:1:1"),
        pytest.param(changed(USUAL.index(b"\xff\xc0") + 11, 0x12), id="4:4:0"),
        pytest.param(changed(USUAL.index(b"JFIF") + 5, 2), id="another JFIF"),
        pytest.param(changed(SCAN - 2, 62), id="not all coefficients"),
        pytest.param(USUAL[:-2], id="no end"),
        pytest.param(USUAL[:-2] + b"\0" + USUAL[-2:], id="needless bytes"),
        pytest.param(USUAL[:-50] + USUAL[-2:], id="too little data"),
        pytest.param(USUAL[: SCAN - 14] + USUAL[-2:], id="no scan"),
        pytest.param(b"", id="nothing"),
        pytest.param(USUAL[:2], id="a beginning"),
    ],
)
def test_the_unusual_and_the_damaged_is_refused(decoder: Tables, content: bytes) -> None:
    assert decode(decoder, USUAL, 40, 30) is not None
    assert decode(decoder, content, 40, 30) is None


@pytest.mark.parametrize(("width", "height"), [(30, 40), (39, 30), (40, 31)])
def test_another_size_than_expected_is_refused(decoder: Tables, width: int, height: int) -> None:
    assert decode(decoder, USUAL, width, height) is None


def test_colours_are_known_without_jfif(decoder: Tables) -> None:
    for content in (adobe(1), USUAL[:2] + USUAL[20:]):
        assert b"JFIF" not in content
        assert np.array_equal(decode(decoder, content, 40, 30), libjpeg.decode(content, 40, 30))


def test_images_that_would_take_much_memory_are_refused(decoder: Tables) -> None:
    side = int(LARGEST**0.5) + 1
    assert memory_needed(side, side, 1000) == 0
    assert decode(decoder, jpeg(Image.new("RGB", (side, side))), side, side) is None


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_what_damaged_files_are_decoded_to_is_what_libjpeg_turbo_has_without_complaint(
    decoder: Tables, sampling: str
) -> None:
    rng = np.random.default_rng(0)
    accepted = refused = 0
    for _ in range(60):
        width, height = rng.integers(NARROW, 60, 2).tolist()
        options = {"quality": int(rng.integers(1, 101)), "restart_marker_blocks": int(rng.integers(3))}
        content = jpeg(photo(rng, width, height), sampling, **options)
        for _ in range(25):
            damaged = bytearray(content)
            for _ in range(rng.integers(1, 4)):
                place = rng.integers(2, len(content) if rng.random() < 0.5 else min(len(content), 640))
                match rng.integers(3):
                    case 0:
                        damaged[place] = rng.integers(256)
                    case 1:
                        damaged[place] ^= 1 << rng.integers(8)
                    case 2:
                        del damaged[place : place + rng.integers(1, 20)]
                damaged += b"\0" * (len(content) - len(damaged))
            pixels = decode(decoder, bytes(damaged), width, height)
            if pixels is None:
                refused += 1
            else:
                assert np.array_equal(pixels, libjpeg.decode(bytes(damaged), width, height))
                accepted += 1
    assert accepted > 100
    assert refused > 100


def test_nothing_is_read_behind_the_data(decoder: Tables, end_of_memory: np.ndarray) -> None:
    pixels, memory = np.zeros(3 * 40 * 30 + SLACK, np.uint8), np.empty(memory_needed(30, 40, len(USUAL)), np.uint8)
    for length in range(len(USUAL) + 1):
        data = end_of_memory[len(end_of_memory) - length :]
        data[:] = np.frombuffer(USUAL[:length], np.uint8)
        decoded = module.decode(data, 30, 40, 0, 30, 0, 40, True, decoder, memory, pixels)
        assert decoded == (length == len(USUAL))


TALL = photo(np.random.default_rng(0), 64, 160)  # 4 x 10 units
TALL_RESTARTED = jpeg(TALL, restart_marker_blocks=2)
MIDDLE = (36, 70, 60, 76)  # in the right half of row 4
SEGMENTS = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7\xd9]", TALL_RESTARTED)]
"""Where the marker behind each segment of two units stands."""


def segment_damaged(number: int) -> bytes:
    """The compressed data between two markers as zeros."""
    start = SEGMENTS[number - 1] + 2 if number else TALL_RESTARTED.index(b"\xff\xda") + 14
    zeros = bytes(SEGMENTS[number] - start)
    return TALL_RESTARTED[:start] + zeros + TALL_RESTARTED[SEGMENTS[number] :]


def test_between_restart_markers_only_what_a_part_takes_is_read(decoder: Tables) -> None:
    left, top, right, bottom = MIDDLE
    expected = libjpeg.decode(TALL_RESTARTED, *TALL.size)[top:bottom, left:right]
    assert len(SEGMENTS) == 20
    read = []
    for number in range(20):
        content = segment_damaged(number)
        assert decode(decoder, content, *TALL.size, MIDDLE) is None
        pixels = decode(decoder, content, *TALL.size, MIDDLE, whole=False)
        if pixels is None:
            read.append(number)
        else:
            assert np.array_equal(pixels[top:bottom, left:right], expected)
    assert read == [9]


@pytest.mark.parametrize("change", [b"", b"\0\0", b"\xff\xd9", b"\xff\xc4", b"\xff\xff", b"next"])
def test_markers_before_a_part_are_checked_and_none_behind_it_is_read(decoder: Tables, change: bytes) -> None:
    left, top, right, bottom = MIDDLE
    expected = libjpeg.decode(TALL_RESTARTED, *TALL.size)[top:bottom, left:right]
    for number, place in enumerate(SEGMENTS[:-1]):
        marker = bytes([0xFF, 0xD0 + (number + 1) % 8]) if change == b"next" else change
        content = TALL_RESTARTED[:place] + marker + TALL_RESTARTED[place + 2 :]
        assert decode(decoder, content, *TALL.size, MIDDLE) is None
        pixels = decode(decoder, content, *TALL.size, MIDDLE, whole=False)
        assert (pixels is None) == (number <= 9)
        if pixels is not None:
            assert np.array_equal(pixels[top:bottom, left:right], expected)


@pytest.mark.parametrize("interval", [0, 1, 2, 7])
def test_of_a_file_cut_short_a_part_is_its_own_or_nothing(
    decoder: Tables, end_of_memory: np.ndarray, interval: int
) -> None:
    content = jpeg(TALL, restart_marker_blocks=interval)
    left, top, right, bottom = MIDDLE
    expected = libjpeg.decode(content, *TALL.size)[top:bottom, left:right]
    pixels = np.zeros(3 * TALL.width * TALL.height + SLACK, np.uint8)
    memory = np.empty(memory_needed(TALL.height, TALL.width, len(content)), np.uint8)
    done = []
    for length in range(len(content) + 1):
        data = end_of_memory[len(end_of_memory) - length :]
        data[:] = np.frombuffer(content[:length], np.uint8)
        size = (TALL.height, TALL.width)
        if module.decode(data, *size, top, bottom, left, right, False, decoder, memory, pixels):
            found = pixels[:-SLACK].reshape(*size, 3)[top:bottom, left:right]
            assert np.array_equal(found, expected)
            done.append(length)
    assert done == [*range(done[0], len(content) + 1)]
    assert done[0] == len(content) if interval == 0 else done[0] < 0.8 * len(content)


def test_nothing_is_written_behind_the_pixels_or_the_memory(decoder: Tables) -> None:
    for sampling in SAMPLINGS:
        for width, height in ((40, 30), (5, 1), (33, 17), (200, 3)):
            content = jpeg(noise(np.random.default_rng(0), width, height), sampling)
            data = np.frombuffer(content, np.uint8).copy()
            needed, size = memory_needed(height, width, data.size), 3 * width * height + SLACK
            memory, pixels = np.full(needed + 64, 0xA5, np.uint8), np.full(size + 64, 0xA5, np.uint8)
            assert module.decode(
                data, height, width, 0, height, 0, width, True, decoder, memory[:needed], pixels[:size]
            )
            assert (memory[needed:] == 0xA5).all()
            assert (pixels[size:] == 0xA5).all()


@pytest.mark.parametrize("length", [*range(20), 100])
def test_zeros_after_0xff_are_left_out_up_to_a_marker(length: int) -> None:
    rng = np.random.default_rng(length)
    for marker in (b"\xff\xd9", b"\xff", b""):
        for _ in range(50):
            plain = rng.choice([0, 1, 0xFE, 0xFF], length).astype(np.uint8).tobytes()
            stuffed = plain.replace(b"\xff", b"\xff\0")
            data = np.frombuffer(b"12" + stuffed + marker + b"3456789", np.uint8)
            if not marker:
                data = data[: 2 + len(stuffed)]
            out = np.full(data.size + ROOM, 0xA5, np.uint8)
            count, end = unstuff(data.copy(), 2, out)
            assert (out[:count].tobytes(), end) == (plain, 2 + len(stuffed))
            assert not out[count : count + ROOM].any()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_whole_images_of_any_size_one_after_the_other(sampling: str) -> None:
    for width, height in ((40, 30), (1500, 1200), (5, 1), (40, 30)):
        content = jpeg(photo(np.random.default_rng(0), width, height), sampling)
        assert np.array_equal(decode_whole(content, width, height), libjpeg.decode(content, width, height))
        assert decode_whole(content[:-3], width, height) is None
