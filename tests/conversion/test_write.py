"""A beton is a pure function of its manifest and params, and appears whole or not at all."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.beton import format as layout
from formwork.beton import provenance
from formwork.beton.read import open_beton
from formwork.conversion import beton_file
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest, write_manifest
from formwork.params import BetonParams
from tests.make_images import make_dataset, make_manifest

pytestmark = pytest.mark.plain

MODES = ("raw", "jpg", "smart", "proportion")
SIZES = [(48, 40), (9, 7), (30, 60)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of 20 images of several sizes, photos and noise. Not to be changed."""
    raw = make_dataset(tmp_path_factory.mktemp("write") / "raw" / "mine", ["cat"], per_class=20, size=SIZES)
    return make_dataset(raw, ["dog"], per_class=20, size=SIZES, content="noise")


@pytest.fixture
def manifest(raw: Path, tmp_path: Path) -> Manifest:
    return make_manifest(raw, tmp_path / "interim" / "train.csv")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the beton, in a folder that is to be made."""
    return tmp_path / "processed" / "train.beton"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- Reproducible -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_same_bytes_whatever_the_workers_the_folder_and_the_day(
    manifest: Manifest, raw: Path, path: Path, tmp_path: Path, mode: str
) -> None:
    params = BetonParams(write_mode=mode, max_resolution=32)
    copy = shutil.copytree(raw, tmp_path / "copied" / "elsewhere")
    shutil.copy(manifest.path, tmp_path / "copied")

    contents = []
    for workers in (1, 2, 4, 2):
        write_beton(manifest, raw, path, params, workers)
        contents.append(path.read_bytes())
    write_beton(make_manifest(copy, tmp_path / "copied" / "train.csv"), copy, tmp_path / "other.beton", params, 3)

    assert set(contents) == {(tmp_path / "other.beton").read_bytes()}


def test_the_bytes_of_this_format_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other bytes for the same images would make every dataset convert, and be pushed, again."""
    expected = "6d2944ccc60dee3d22abd324ac194a1025309165328977e7b1b0f4c0c437b9bb"
    monkeypatch.setattr(provenance, "CODECS", ())
    monkeypatch.setattr(provenance.Image, "__version__", "any")
    for number in range(6):
        image = tmp_path / "raw" / "ab"[number % 2] / f"{number}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3) + number).save(image)
    manifest = make_manifest(tmp_path / "raw", tmp_path / "train.csv")

    write_beton(manifest, tmp_path / "raw", tmp_path / "train.beton", BetonParams(write_mode="raw"), 2)

    assert hashlib.sha256((tmp_path / "train.beton").read_bytes()).hexdigest() == expected


# --- What stands where --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_metadata_is_in_the_manifests_order_and_data_in_its_storage_order(
    manifest: Manifest, raw: Path, path: Path, mode: str
) -> None:
    summary = write_beton(manifest, raw, path, BetonParams(write_mode=mode), 2)

    beton = open_beton(path)
    beton.of_manifest(manifest)
    assert beton.widths.tolist() == [row.width for row in manifest.rows]
    assert beton.heights.tolist() == [row.height for row in manifest.rows]
    assert beton.storage_order.tolist() == manifest.storage_order.tolist()
    stored = [layout.MODE_NAMES[mode] for mode in beton.modes.tolist()]
    assert summary.modes == {name: stored.count(name) for name in set(stored)}
    assert summary.source_bytes == sum(row.bytes for row in manifest.rows)
    assert summary.beton_bytes == path.stat().st_size
    assert f"40 images ({stored.count(min(stored)) / 40:.0%} {min(stored)}" in str(summary)


def test_max_resolution_limits_the_longer_side(manifest: Manifest, raw: Path, path: Path) -> None:
    write_beton(manifest, raw, path, BetonParams(write_mode="raw", max_resolution=20), 2)

    beton = open_beton(path)
    assert np.maximum(beton.widths, beton.heights).max() == 20
    assert set(zip(beton.widths.tolist(), beton.heights.tolist(), strict=True)) == {(20, 16), (9, 7), (10, 20)}


def test_samples_fill_pages_and_cross_none(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beton_file, "PAGE_SIZE", layout.MIN_PAGE_SIZE)
    raw = make_dataset(tmp_path / "raw", per_class=6, size=[(640, 300), (500, 330)], content="noise")
    manifest = make_manifest(raw, tmp_path / "train.csv")

    write_beton(manifest, raw, path, BetonParams(write_mode="raw"), 2)

    beton = open_beton(path)
    starts = beton.offsets[beton.storage_order]
    ends = starts + beton.sizes[beton.storage_order]
    pages = starts // beton.page_size
    gaps = starts[1:] - ends[:-1]
    assert beton.page_size == layout.MIN_PAGE_SIZE
    assert pages.max() == 3
    assert (pages == (ends - 1) // beton.page_size).all()
    assert (gaps[np.diff(pages) == 0] == 0).all()
    assert (starts[1:][np.diff(pages) == 1] % beton.page_size == 0).all()


@pytest.mark.parametrize(
    ("size", "mode", "expected"),
    [((600, 600), "raw", 1 << 21), ((900, 900), "raw", 1 << 22), ((900, 900), "jpg", 1 << 21)],
)
def test_pages_grow_to_the_largest_sample_wherever_it_comes(
    tmp_path: Path, path: Path, size: tuple[int, int], mode: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beton_file, "PAGE_SIZE", layout.MIN_PAGE_SIZE)
    raw = make_dataset(tmp_path / "raw", per_class=8, size=(500, 400))
    manifest = make_manifest(raw, tmp_path / "train.csv")
    place = {}
    for position in (0, 9, 15):
        large = raw / manifest.rows[manifest.storage_order[position]].path
        kept = large.read_bytes()
        make_dataset(tmp_path / "large", ["cat"], per_class=1, size=size)
        shutil.copy(tmp_path / "large" / "cat" / "000.png", large)

        write_beton(make_manifest(raw, manifest.path), raw, path, BetonParams(write_mode=mode), 2)

        place[position] = open_beton(path).page_size  # which also checks that no sample crosses a page
        large.write_bytes(kept)
    assert set(place.values()) == {expected}


def test_a_sample_too_large_for_the_format_is_named(
    manifest: Manifest, raw: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MAX_PAGE_SIZE", 1 << 12)
    monkeypatch.setattr(beton_file, "PAGE_SIZE", 1 << 11)

    with pytest.raises(BetonError, match=r"\.png takes .* GB, too much for a beton. Set ffcv.beton.max_resolution"):
        write_beton(manifest, raw, path, BetonParams(write_mode="raw"), 2)


def test_of_a_split_without_images_a_line_says_so(tmp_path: Path) -> None:
    """DVC warns of outputs that are empty."""
    manifest, path = write_manifest(tmp_path / "test.csv", []), tmp_path / "test.beton"

    summary = write_beton(manifest, tmp_path / "raw", path, BetonParams(), 2)

    assert path.read_text() == "The dataset has no such split.\n"
    assert (summary.metrics()["images"], summary.metrics()["raw_share"]) == (0, 0)
    assert str(summary) == "no images, as the dataset has no such split"
