"""JPEG files of all kinds, and what damage makes of them."""

import io
import struct
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from tests.make_images import noise, photo

SAMPLINGS = tuple(getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}") for name in ("444", "422", "420", "440", "411"))
Damage = Callable[[np.random.Generator, bytearray], None]


def jpeg(rng: np.random.Generator, largest: int = 70) -> tuple[bytes, int, int]:
    """A sound file, its width and its height: of odd sizes, any sampling, grey, RGB or CMYK, plain or progressive, with
    or without restart markers, standard or optimised tables, metadata or none."""
    width, height = (int(side) for side in rng.integers(1, largest + 1, 2))
    image = (noise if rng.random() < 0.3 else photo)(rng, width, height)
    quality = int(rng.integers(1, 101))
    if rng.random() < 0.7:
        options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, int(rng.choice(SAMPLINGS)), cv2.IMWRITE_JPEG_QUALITY, quality]
        options += [cv2.IMWRITE_JPEG_PROGRESSIVE, int(rng.random() < 0.2)]
        options += [cv2.IMWRITE_JPEG_OPTIMIZE, int(rng.random() < 0.3)]
        options += [cv2.IMWRITE_JPEG_RST_INTERVAL, int(rng.choice([0, 0, 1, 2, 7]))]
        pixels = np.asarray(image.convert("L")) if rng.random() < 0.15 else np.asarray(image)
        return cv2.imencode(".jpg", pixels, options)[1].tobytes(), width, height
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(0, 10))
    metadata = {"exif": exif, "comment": rng.bytes(20), "icc_profile": rng.bytes(300), "dpi": (0, 0)}
    chosen = {key: value for key, value in metadata.items() if rng.random() < 0.3}
    kind = rng.choice(["RGB", "RGB", "L", "CMYK"])
    buffer = io.BytesIO()
    image.convert(kind).save(
        buffer,
        "JPEG",
        quality=quality,
        keep_rgb=bool(rng.random() < 0.2),
        progressive=bool(rng.random() < 0.3),
        restart_marker_blocks=int(rng.choice([0, 3])),
        **chosen,
    )
    return buffer.getvalue(), width, height


def damaged(rng: np.random.Generator, content: bytes) -> bytes:
    """The file after one to four kinds of damage, mostly one."""
    changed = bytearray(content)
    for _ in range(min(int(rng.geometric(0.6)), 4)):
        DAMAGES[rng.integers(len(DAMAGES))](rng, changed)
    return bytes(changed)


def _place(rng: np.random.Generator, content: bytearray) -> int:
    """A place in a file, in its headers as often as in its scan."""
    scan = max(content.find(b"\xff\xda"), 1)
    return int(rng.integers(min(scan + 14, len(content)) if rng.random() < 0.5 else len(content)))


def _markers(content: bytearray) -> list[int]:
    """Where markers stand, also such that are only bytes that look like one."""
    return [at for at in range(len(content) - 1) if content[at] == 0xFF and content[at + 1] not in (0, 0xFF)]


def flip_a_bit(rng: np.random.Generator, content: bytearray) -> None:
    if content:
        content[_place(rng, content)] ^= 1 << int(rng.integers(8))


def set_a_byte(rng: np.random.Generator, content: bytearray) -> None:
    if content:
        content[_place(rng, content)] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.integers(256)]))


def cut_off_the_end(rng: np.random.Generator, content: bytearray) -> None:
    del content[rng.integers(len(content) + 1) :]


def cut_out_a_piece(rng: np.random.Generator, content: bytearray) -> None:
    if content:
        at = _place(rng, content)
        del content[at : at + int(rng.integers(1, 60))]


def repeat_a_piece(rng: np.random.Generator, content: bytearray) -> None:
    if content:
        start, at = _place(rng, content), _place(rng, content)
        content[at:at] = content[start : start + int(rng.integers(1, 200))]


def insert_bytes(rng: np.random.Generator, content: bytearray) -> None:
    if content:
        at = _place(rng, content)
        content[at:at] = rng.bytes(int(rng.integers(1, 30)))


def splice(rng: np.random.Generator, content: bytearray) -> None:
    """The beginning of this file and the end of another one."""
    if content:
        other, _, _ = jpeg(rng)
        content[_place(rng, content) :] = other[rng.integers(len(other)) :]


def change_a_marker(rng: np.random.Generator, content: bytearray) -> None:
    if places := _markers(content):
        content[int(rng.choice(places)) + 1] = int(rng.integers(0xC0, 0x100))


def insert_a_marker(rng: np.random.Generator, content: bytearray) -> None:
    if content:
        at = _place(rng, content)
        content[at:at] = bytes([0xFF, int(rng.integers(0xC0, 0x100))])


def change_a_length(rng: np.random.Generator, content: bytearray) -> None:
    if places := [at for at in _markers(content) if at + 4 <= len(content)]:
        struct.pack_into(">H", content, int(rng.choice(places)) + 2, int(rng.choice([0, 1, 2, 3, 17, 255, 65535])))


def shorten_a_segment(rng: np.random.Generator, content: bytearray) -> None:
    """Its length fits: what is missing is seen by who reads it alone."""
    lengths = {at: int.from_bytes(content[at + 2 : at + 4], "big") for at in _markers(content)}
    if places := [at for at, length in lengths.items() if 2 < length <= len(content) - at - 2]:
        at = int(rng.choice(places))
        cut = int(rng.integers(1, lengths[at] - 1))
        del content[at + 2 + lengths[at] - cut : at + 2 + lengths[at]]
        struct.pack_into(">H", content, at + 2, lengths[at] - cut)


def change_the_frame(rng: np.random.Generator, content: bytearray) -> None:
    """Precision, height, width, number of components, their ids, samplings and tables."""
    at = max(content.find(marker) for marker in (b"\xff\xc0", b"\xff\xc1", b"\xff\xc2"))
    if 0 <= at < len(content) - 20:
        content[at + 4 + int(rng.integers(15))] = int(rng.choice([0, 1, 2, 3, 4, 8, 0x11, 0x12, 0x21, 0x22, 0x41, 255]))


def change_the_scan_header(rng: np.random.Generator, content: bytearray) -> None:
    at = content.find(b"\xff\xda")
    if 0 <= at < len(content) - 14:
        content[at + 4 + int(rng.integers(10))] = int(rng.choice([0, 1, 2, 3, 0x10, 0x11, 0x22, 0x33, 63, 64, 255]))


DAMAGES: tuple[Damage, ...] = (
    flip_a_bit,
    flip_a_bit,
    set_a_byte,
    cut_off_the_end,
    cut_out_a_piece,
    repeat_a_piece,
    insert_bytes,
    splice,
    change_a_marker,
    insert_a_marker,
    change_a_length,
    shorten_a_segment,
    change_the_frame,
    change_the_scan_header,
)
