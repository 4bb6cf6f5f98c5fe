"""What a beton holds for one image."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from formwork.beton.format import JPG, RAW
from formwork.beton.provenance import checksum
from formwork.conversion.encode import Stored, encode, scale_down
from formwork.errors import BetonError
from formwork.images.manifest import Manifest
from formwork.images.pixels import read_rgb
from formwork.params import BetonParams
from tests import permissions
from tests.make_images import make_dataset, make_manifest, photo, pillow_resize


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two classes of 20 images that JPEG compresses well, badly and not at all."""
    sizes = [(64, 48), (80, 80), (30, 30), (16, 24), (6, 5)]
    raw = make_dataset(tmp_path / "raw", ["photo", "other"], per_class=20, size=sizes)
    return make_dataset(raw, ["noise"], per_class=20, size=sizes, content="noise")


@pytest.fixture
def manifest(raw: Path, tmp_path: Path) -> Manifest:
    return make_manifest(raw, tmp_path / "train.csv")


def sizes(manifest: Manifest, raw: Path, **params: object) -> np.ndarray:
    return np.array([len(encode(row, raw, BetonParams(**params)).data) for row in manifest.rows])


def jpg_rows(manifest: Manifest, raw: Path, **params: object) -> set[str]:
    """Paths of the images that are stored as JPEG."""
    return {row.path for row in manifest.rows if encode(row, raw, BetonParams(**params)).mode == JPG}


def open_source(raw: Path, path: str) -> np.ndarray:
    with Image.open(raw / path) as image:
        return np.array(image)


# --- Write modes --------------------------------------------------------------------------------


def test_raw_keeps_every_pixel(manifest: Manifest, raw: Path) -> None:
    for row in manifest.rows:
        stored = encode(row, raw, BetonParams(write_mode="raw"))

        assert (stored.mode, stored.width, stored.height) == (RAW, row.width, row.height)
        assert stored.data == open_source(raw, row.path).tobytes()


def test_jpg_is_close_to_the_source(manifest: Manifest, raw: Path) -> None:
    for row in manifest.rows:
        stored = encode(row, raw, BetonParams(write_mode="jpg", jpeg_quality=95))

        with Image.open(io.BytesIO(stored.data)) as image:
            difference = np.asarray(image).astype(int) - open_source(raw, row.path)
            assert (stored.mode, image.format, image.size) == (JPG, "JPEG", (row.width, row.height))
        assert row.class_name == "noise" or row.width < 30 or np.abs(difference).mean() < 6


def test_jpeg_quality_is_a_matter_of_bytes(manifest: Manifest, raw: Path) -> None:
    small, large = (sizes(manifest, raw, write_mode="jpg", jpeg_quality=quality) for quality in (30, 95))

    assert (small < large).all()


@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0, 6.0])
def test_smart_stores_jpeg_where_raw_would_take_more_than_threshold_times_as_much(
    manifest: Manifest, raw: Path, threshold: float
) -> None:
    jpg, plain = (sizes(manifest, raw, write_mode=mode) for mode in ("jpg", "raw"))
    expected = plain > threshold * jpg
    assert 0 < expected.sum() < len(manifest)

    assert jpg_rows(manifest, raw, write_mode="smart", smart_threshold=threshold) == {
        row.path for row, is_jpg in zip(manifest.rows, expected, strict=True) if is_jpg
    }
    assert (sizes(manifest, raw, write_mode="smart", smart_threshold=threshold) == np.where(expected, jpg, plain)).all()


def test_proportion_is_a_share(manifest: Manifest, raw: Path) -> None:
    shares = [jpg_rows(manifest, raw, write_mode="proportion", compress_probability=p) for p in (0, 0.4, 0.7, 1)]

    assert [len(share) for share in shares[::3]] == [0, len(manifest)]
    assert 15 <= len(shares[1]) <= 33
    assert shares[0] < shares[1] < shares[2] < shares[3]


def test_proportion_is_drawn_by_the_seed_for_each_image_alone(manifest: Manifest, raw: Path, tmp_path: Path) -> None:
    drawn, again, other = (jpg_rows(manifest, raw, write_mode="proportion", seed=seed) for seed in (1, 1, 2))
    make_dataset(raw, ["another"], per_class=10, seed=9)
    grown = jpg_rows(make_manifest(raw, tmp_path / "grown.csv"), raw, write_mode="proportion", seed=1)

    assert drawn == again
    assert drawn != other
    assert {path for path in grown if not path.startswith("another/")} == drawn


# --- JPEG sources -------------------------------------------------------------------------------


@pytest.fixture
def jpegs(tmp_path: Path) -> Manifest:
    """20 JPEG files of 64 x 48 and 30 x 30 pixels, 4:4:4 and of quality 80, and their manifest beside `raw`."""
    raw = tmp_path / "jpegs" / "raw"
    rng = np.random.default_rng(0)
    for number in range(20):
        path = raw / "ab"[number // 10] / f"{number:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(rng, *((64, 48) if number % 2 else (30, 30))).save(path, quality=80, subsampling="4:4:4")
    return make_manifest(raw, tmp_path / "jpegs" / "train.csv")


def stored(manifest: Manifest, **params: object) -> list[Stored]:
    raw = manifest.path.parent / "raw"
    return [encode(row, raw, BetonParams(**({"write_mode": "jpg"} | params))) for row in manifest.rows]


def files(manifest: Manifest) -> list[bytes]:
    return [(manifest.path.parent / "raw" / row.path).read_bytes() for row in manifest.rows]


def test_a_jpeg_is_stored_as_it_is(jpegs: Manifest) -> None:
    samples = stored(jpegs)

    assert [sample.data for sample in samples] == files(jpegs)
    assert all(sample.passed_through and sample.mode == JPG for sample in samples)
    assert [(sample.width, sample.height) for sample in samples] == [(row.width, row.height) for row in jpegs.rows]
    assert all(sample.checksum == checksum(sample.data) for sample in samples)


def test_what_is_appended_to_a_jpeg_is_not_stored(jpegs: Manifest) -> None:
    """Nor does it count where sizes decide how an image is stored."""
    before = stored(jpegs, write_mode="smart", smart_threshold=1.5)
    assert any(sample.passed_through for sample in before)
    for row in jpegs.rows:
        path = jpegs.path.parent / "raw" / row.path
        path.write_bytes(path.read_bytes() + b"a film" * 10_000)
    longer = make_manifest(jpegs.path.parent / "raw", jpegs.path)

    assert stored(longer, write_mode="smart", smart_threshold=1.5) == before


def test_settings_of_the_encoder_do_not_matter_to_what_is_stored_as_it_is(jpegs: Manifest) -> None:
    assert stored(jpegs, jpeg_quality=30, chroma_subsampling=422) == stored(jpegs)


def test_without_passthrough_every_image_is_encoded(jpegs: Manifest) -> None:
    samples = stored(jpegs, passthrough=False, restart_markers="none")
    for sample, content in zip(samples, files(jpegs), strict=True):
        with Image.open(io.BytesIO(content)) as image:
            expected = io.BytesIO()
            image.save(expected, "JPEG", quality=90, subsampling="4:2:0")
        assert sample.data == expected.getvalue()
        assert sample.checksum == checksum(sample.data)
        assert not sample.passed_through


@pytest.mark.parametrize(
    ("width", "height", "subsampling", "interval"),
    [
        (256, 192, 420, 4),  # a row of 16 units, of 16 pixels each
        (192, 256, 420, 4),  # of 12: no less than 4
        (500, 375, 420, 8),
        (500, 375, 422, 8),
        (500, 375, 444, 16),
        (601, 16, 420, 10),
        (40, 30, 420, 4),  # 3 x 2
        (32, 32, 420, 0),
        (8, 9, 444, 0),
    ],
)
def test_what_is_encoded_has_a_restart_marker_at_each_quarter_of_a_row(
    tmp_path: Path, width: int, height: int, subsampling: int, interval: int
) -> None:
    raw = make_dataset(tmp_path / "raw", ["a", "b"], per_class=1, size=(width, height))
    manifest = make_manifest(raw, tmp_path / "train.csv")
    params = {"chroma_subsampling": subsampling, "passthrough": False}
    marked, plain = (stored(manifest, **params, **choice)[0] for choice in ({}, {"restart_markers": "none"}))

    assert (marked.data == plain.data) == (interval == 0)
    assert np.array_equal(read_rgb(marked.data), read_rgb(plain.data))
    assert b"\xff\xdd" not in plain.data
    if interval:
        at = marked.data.index(b"\xff\xdd\0\4")
        assert int.from_bytes(marked.data[at + 4 : at + 6], "big") == interval


@pytest.mark.parametrize("change", [{"jpeg_quality": 89}, {"chroma_subsampling": 444}, {"chroma_subsampling": 422}])
def test_settings_of_the_encoder_change_what_is_encoded(jpegs: Manifest, change: dict[str, object]) -> None:
    before, after = stored(jpegs, passthrough=False), stored(jpegs, passthrough=False, **change)

    assert all(a.data != b.data for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("subsampling", [444, 422, 420])
def test_chroma_subsampling_is_that_of_the_file(jpegs: Manifest, subsampling: int) -> None:
    sampling = {444: 0x11, 422: 0x21, 420: 0x22}[subsampling]

    for sample in stored(jpegs, passthrough=False, chroma_subsampling=subsampling):
        assert sample.data[sample.data.index(b"\xff\xc0") + 11] == sampling


def test_only_what_is_within_max_resolution_is_stored_as_it_is(jpegs: Manifest) -> None:
    for sample, row, content in zip(stored(jpegs, max_resolution=32), jpegs.rows, files(jpegs), strict=True):
        assert sample.passed_through == (row.width == 30)
        assert (sample.data == content) == (row.width == 30)
        assert max(sample.width, sample.height) <= 32


def test_a_jpeg_that_is_turned_by_its_metadata_is_encoded_upright(jpegs: Manifest) -> None:
    path = jpegs.path.parent / "raw" / jpegs.rows[1].path
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with Image.open(path) as image:
        image.save(path, quality=80, exif=exif)
    turned = make_manifest(path.parent.parent, jpegs.path)
    assert (turned.rows[1].width, turned.rows[1].height) == (48, 64)

    sample = stored(turned, jpeg_quality=100)[1]

    assert (sample.passed_through, sample.width, sample.height) == (False, 48, 64)
    with Image.open(io.BytesIO(sample.data)) as image:
        difference = np.asarray(image).astype(int) - np.asarray(read_rgb(path))
    assert np.abs(difference).mean() < 3


def test_raw_holds_a_jpegs_pixels(jpegs: Manifest) -> None:
    for sample, content in zip(stored(jpegs, write_mode="raw"), files(jpegs), strict=True):
        assert (sample.mode, sample.passed_through) == (RAW, False)
        assert sample.data == read_rgb(io.BytesIO(content)).tobytes()


@pytest.mark.parametrize("passthrough", [True, False])
def test_smart_compares_what_it_would_store(jpegs: Manifest, passthrough: bool) -> None:
    """The file's own size where the file itself would be stored."""
    would = stored(jpegs, passthrough=passthrough)
    pixels = [sample.width * sample.height * 3 for sample in would]
    threshold = float(np.median([size / len(sample.data) for size, sample in zip(pixels, would, strict=True)]))

    samples = stored(jpegs, write_mode="smart", smart_threshold=threshold, passthrough=passthrough)

    expected = [size > threshold * len(sample.data) for size, sample in zip(pixels, would, strict=True)]
    assert 0 < sum(expected) < len(expected)
    assert [sample.mode == JPG for sample in samples] == expected
    assert all(sample == other for sample, other, jpg in zip(samples, would, expected, strict=True) if jpg)


def test_proportion_stores_files_as_they_are_too(jpegs: Manifest) -> None:
    samples = stored(jpegs, write_mode="proportion", compress_probability=0.5)

    assert 0 < sum(sample.passed_through for sample in samples) < len(samples)
    assert all(sample.passed_through == (sample.mode == JPG) for sample in samples)


# --- max_resolution -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "limit", "expected"),
    [
        ((80, 60), None, (80, 60)),
        ((80, 60), 80, (80, 60)),
        ((80, 60), 40, (40, 30)),
        ((60, 80), 40, (30, 40)),
        ((79, 50), 40, (40, 25)),
        ((20000, 30), 256, (256, 1)),
        ((30, 20000), 256, (1, 256)),
        ((300, 2), 1, (1, 1)),
    ],
)
def test_the_longer_side_is_scaled_down(size: tuple[int, int], limit: int | None, expected: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), (10, 200, 30), np.uint8)

    scaled = scale_down(pixels, limit)

    assert scaled.shape == (expected[1], expected[0], 3)
    assert (scaled == (10, 200, 30)).all()


def test_scaling_averages(raw: Path) -> None:
    pixels = open_source(raw, "noise/001.png")

    scaled = scale_down(pixels, 8).astype(float)

    assert np.abs(scaled - 127.5).max() < np.abs(pixels - 127.5).max() / 2


@pytest.mark.parametrize("size", [(500, 375), (30, 2000), (2000, 3), (257, 256)])
def test_scaling_is_pillows(size: tuple[int, int]) -> None:
    """The PyTorch loader scales with Pillow."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)

    scaled = scale_down(pixels, 256)

    expected = pillow_resize(Image.fromarray(pixels), scaled.shape[1::-1])
    assert np.array_equal(scaled, np.asarray(expected))


# --- Faults -------------------------------------------------------------------------------------


def test_a_missing_image_is_named(manifest: Manifest, raw: Path) -> None:
    row = manifest.rows[5]
    (raw / row.path).unlink()

    with pytest.raises(BetonError, match=f"{raw / row.path}: No such file.* `dvc pull {raw}`"):
        encode(row, raw, BetonParams())


def test_a_forbidden_image_is_named(manifest: Manifest, raw: Path) -> None:
    row = manifest.rows[5]
    (raw / row.path).chmod(0)

    with permissions.enforced(), pytest.raises(BetonError, match=f"{raw / row.path}: Permission denied"):
        encode(row, raw, BetonParams())


def test_a_changed_image_is_named(manifest: Manifest, raw: Path) -> None:
    row = manifest.rows[5]
    with (raw / row.path).open("ab") as file:
        file.write(b"!")

    with pytest.raises(BetonError, match=f"{raw / row.path} changed after its manifest was made. Run `dvc repro`"):
        encode(row, raw, BetonParams())


def test_an_image_larger_than_the_format_allows_is_named(tmp_path: Path) -> None:
    raw = make_dataset(tmp_path / "raw", per_class=1)
    Image.new("1", (65501, 1)).save(raw / "cat" / "000.png")
    row = make_manifest(raw, tmp_path / "train.csv").rows[0]

    for mode in ("raw", "jpg"):
        assert encode(row, raw, BetonParams(write_mode=mode, max_resolution=65500)).width == 65500
    with pytest.raises(BetonError, match=r"cat/000\.png is 65501 x 1 pixels.*Set ffcv\.beton"):
        encode(row, raw, BetonParams())
