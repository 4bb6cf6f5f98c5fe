"""The file by which DVC decides whether to train again says what a beton means, and nothing of its form."""

import json
from pathlib import Path

import pytest

from formwork.beton.read import open_beton
from formwork.conversion import beton_file, encode
from formwork.conversion.meaning import describe, write_meaning
from formwork.conversion.write import write_beton
from formwork.images.manifest import Manifest, write_manifest
from formwork.params import BetonParams
from tests.make_images import make_dataset, make_manifest

PARAMS = BetonParams(write_mode="jpg", jpeg_quality=77)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    make_dataset(tmp_path / "raw", per_class=4, size=[(40, 30), (9, 8)])
    return make_manifest(tmp_path / "raw", tmp_path / "train.csv")


def meaning(manifest: Manifest, params: BetonParams, workers: int = 1) -> bytes:
    """The file, of a beton that is written anew."""
    folder = manifest.path.parent
    write_beton(manifest, folder / "raw", folder / "train.beton", params, workers)
    write_meaning(folder / "train.json", manifest, params, open_beton(folder / "train.beton").of_manifest(manifest))
    return (folder / "train.json").read_bytes()


def test_it_is_the_same_whatever_the_form(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other places in the file, pages and workers: the bytes of the beton differ, its meaning does not."""
    first = meaning(manifest, PARAMS)
    beton = (manifest.path.parent / "train.beton").read_bytes()
    monkeypatch.setattr(beton_file, "PAGE_SIZE", 1 << 21)
    monkeypatch.setattr(Manifest, "storage_order", property(lambda self: self.numbers("label").argsort()))

    assert meaning(manifest, PARAMS, workers=3) == first
    assert (manifest.path.parent / "train.beton").read_bytes() != beton
    assert meaning(manifest, PARAMS.model_copy(update={"part_mb": 0.002})) == first
    assert (manifest.path.parent / "train.beton").is_dir()
    assert json.loads(first).keys() == {"images", "manifest", "params", "samples", "software"}
    assert "part_mb" not in json.loads(first)["params"]


def test_it_differs_by_params_and_by_images(manifest: Manifest) -> None:
    found = {meaning(manifest, PARAMS), meaning(manifest, BetonParams(write_mode="jpg", jpeg_quality=78))}
    found.add(meaning(write_manifest(manifest.path, manifest.rows[1:]), PARAMS))
    assert len(found) == 3


def test_it_differs_where_other_code_stores_the_same_images_otherwise(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`train` depends on no module of formwork.conversion: what these do to the pixels is in the samples."""
    first = json.loads(meaning(manifest, PARAMS))
    jpeg = encode.libjpeg.encode
    monkeypatch.setattr(encode.libjpeg, "encode", lambda pixels, *settings: jpeg(pixels[::-1].copy(), *settings))
    other = json.loads(meaning(manifest, PARAMS))
    assert {key for key in first if first[key] != other[key]} == {"samples"}


def test_a_split_without_images_has_a_meaning(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "test.csv", [])
    assert describe(manifest, PARAMS, None)["images"] == 0
