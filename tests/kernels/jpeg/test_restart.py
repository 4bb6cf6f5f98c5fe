"""Restart markers change no coefficient of a JPEG, and stand where libjpeg-turbo puts them."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from formwork.kernels import libjpeg
from formwork.kernels.jpeg import first_codes
from formwork.kernels.jpeg.first_codes import with_codes_for
from formwork.kernels.jpeg.restart import restart_interval, with_restart_markers
from formwork.kernels.jpeg.segments import DHT, DRI, segments
from tests.kernels.jpeg.test_decode import SAMPLINGS, jpeg
from tests.make_images import noise, photo

RNG = np.random.default_rng(0)
PHOTO = photo(RNG, 170, 90)
PLAIN = jpeg(PHOTO)


def interval_of(content: bytes) -> int:
    return next(
        (int.from_bytes(content[start:stop], "big") for marker, start, stop in segments(content) if marker == DRI), 0
    )


def markers(content: bytes) -> int:
    data = content[content.index(b"\xff\xda") :]
    return sum(data.count(bytes((0xFF, 0xD0 + number))) for number in range(8))


@pytest.mark.parametrize("sampling", SAMPLINGS)
@pytest.mark.parametrize("draw", [photo, noise])
def test_a_file_gets_the_markers_that_libjpeg_turbo_would_have_written(draw: Any, sampling: str) -> None:
    rng = np.random.default_rng(0)
    changed = 0
    for width, height in [(1, 1), (16, 300), (33, 17), *rng.integers(1, 200, (30, 2)).tolist()]:
        image, quality = draw(rng, width, height), int(rng.integers(1, 101))
        content = jpeg(image, sampling, quality=quality)
        marked = with_restart_markers(content)
        interval = restart_interval(width, height, *{"4:2:2": (2, 1), "4:2:0": (2, 2)}.get(sampling, (1, 1)))
        assert marked == jpeg(image, sampling, quality=quality, restart_marker_blocks=interval)
        changed += marked != content
    assert changed > 20


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_with_tables_of_its_own_a_file_keeps_its_pixels_in_every_decoder(sampling: str) -> None:
    """Such tables lack codes that only a marker makes necessary."""
    rng = np.random.default_rng(0)
    longer = 0
    for width, height in rng.integers(40, 200, (25, 2)).tolist():
        image = photo(rng, width, height)
        content = jpeg(image, sampling, quality=int(rng.integers(20, 101)), optimize=True)
        marked = with_restart_markers(content)
        assert interval_of(marked) > 0
        assert markers(marked) > 0
        longer += tables(content) != tables(marked)
        pixels = libjpeg.decode(content, width, height)
        assert np.array_equal(libjpeg.decode(marked, width, height), pixels)
        with Image.open(io.BytesIO(marked)) as opened:
            assert np.array_equal(opened.convert("RGB"), pixels)
        before, after = (cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in (content, marked))
        assert np.array_equal(before, after)
    assert longer > 0


def tables(content: bytes) -> list[bytes]:
    return [content[start:stop] for marker, start, stop in segments(content) if marker == DHT]


def test_what_follows_the_picture_and_metadata_stay() -> None:
    content = jpeg(PHOTO, comment=b"a comment", icc_profile=bytes(300)) + b"a film"
    marked = with_restart_markers(content)

    assert marked.endswith(b"\xff\xd9a film")
    assert [(m, marked[a:b]) for m, a, b in segments(marked) if m != DRI] == [
        (m, content[a:b]) for m, a, b in segments(content)
    ]


def sampled(name: str) -> bytes:
    factor = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{name}")
    return cv2.imencode(".jpg", np.asarray(PHOTO), [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])[1].tobytes()


def cmyk() -> bytes:
    buffer = io.BytesIO()
    PHOTO.convert("CMYK").save(buffer, "JPEG")
    return buffer.getvalue()


SCAN = PLAIN.index(b"\xff\xda") + 14


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(jpeg(PHOTO, progressive=True), id="progressive"),
        pytest.param(jpeg(PHOTO, restart_marker_rows=1), id="with markers"),
        pytest.param(jpeg(PHOTO.crop((0, 0, 30, 30))), id="small"),
        pytest.param(sampled("440"), id="4:4:0"),
        pytest.param(sampled("411"), id="4:1:1"),
        pytest.param(cmyk(), id="CMYK"),
        pytest.param(PLAIN[:-2], id="no end"),
        pytest.param(PLAIN[:-200] + PLAIN[-2:], id="too little data"),
        pytest.param(PLAIN[:-2] + b"\0" + PLAIN[-2:], id="needless bytes"),
        pytest.param(PLAIN[:SCAN] + bytes(50) + PLAIN[SCAN + 50 :], id="damaged data"),
        pytest.param(PLAIN[: SCAN + 300] + b"\xff\xd0" + PLAIN[SCAN + 300 :], id="a marker that nothing announces"),
        pytest.param(PLAIN[:SCAN], id="no data"),
        pytest.param(PLAIN[:SCAN] + PLAIN[-2:], id="nothing in the scan"),
        pytest.param(PLAIN.replace(b"\xff\xc4", b"\xff\xfe"), id="no tables"),
        pytest.param(PLAIN[:2], id="a beginning"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_the_unusual_and_the_damaged_stays_as_it_is(content: bytes) -> None:
    assert with_restart_markers(PLAIN) != PLAIN
    assert with_restart_markers(content) is content


def test_a_file_with_markers_gets_no_others() -> None:
    marked = with_restart_markers(PLAIN)

    assert with_restart_markers(marked) is marked


def test_damage_anywhere_is_left_as_it_is_or_keeps_its_pixels() -> None:
    rng = np.random.default_rng(0)
    small = jpeg(photo(rng, 80, 70), quality=60, optimize=True)
    kept = 0
    for _ in range(600):
        damaged = bytearray(small)
        for place in rng.integers(2, len(small), rng.integers(1, 3)):
            damaged[place] = rng.integers(256) if rng.random() < 0.5 else damaged[place] ^ (1 << rng.integers(8))
        content = bytes(damaged)
        marked = with_restart_markers(content)
        pixels = libjpeg.decode(content, 80, 70)
        if marked is content or pixels is None:
            kept += marked is content
            continue
        assert np.array_equal(libjpeg.decode(marked, 80, 70), pixels)
    assert 100 < kept < 600


def definition(counts: dict[int, int]) -> bytes:
    return bytes(counts.get(length, 0) for length in range(1, 17)) + bytes(range(sum(counts.values())))


@pytest.mark.parametrize(
    ("before", "sizes", "after"),
    [
        ({1: 1, 2: 1}, {0, 1}, {1: 1, 2: 1}),  # nothing is missing
        ({1: 1, 2: 1}, {2}, {1: 1, 2: 1, 3: 1}),  # 0, 10 and 110; 111 is no code
        ({1: 1, 2: 1}, {2, 3, 4}, {1: 1, 2: 1, 4: 3}),
        ({2: 2}, {2}, {2: 3}),
        ({1: 2}, {2}, None),  # all codes are taken
        (dict.fromkeys(range(1, 17), 1), {16}, None),
    ],
)
def test_a_table_gets_longer_codes(before: dict[int, int], sizes: set[int], after: dict[int, int] | None) -> None:
    longer = with_codes_for(definition(before), sizes)

    assert longer == (None if after is None else definition(after))


def test_the_plain_form_writes_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [PLAIN, jpeg(noise(RNG, 40, 50), "4:4:4", optimize=True), jpeg(PHOTO, "grey", quality=100)]
    files += [content[:-9] + b"\xff\xd9" for content in files]
    compiled = [with_restart_markers(content) for content in files]

    monkeypatch.setattr(first_codes, "_find", first_codes._find_plainly)
    monkeypatch.setattr(first_codes, "_write", first_codes._write_plainly)

    assert [with_restart_markers(content) for content in files] == compiled
    assert [marked != content for marked, content in zip(compiled, files, strict=True)] == [True] * 3 + [False] * 3
