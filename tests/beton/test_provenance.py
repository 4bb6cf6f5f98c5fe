"""A beton says what it was made from, and its checksums cover every byte of it."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from formwork.beton import format as layout
from formwork.beton import provenance
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.images.manifest import Manifest
from formwork.params import BetonParams
from tests.make_images import make_dataset, make_manifest

PARAMS = BetonParams(write_mode="jpg", jpeg_quality=77, max_resolution=33)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """12 images, of a class whose name is no ASCII, too."""
    raw = make_dataset(tmp_path / "raw", ["cat", "Löwe"], per_class=6, size=[(40, 30), (9, 8)])
    return make_manifest(raw, tmp_path / "train.csv")


@pytest.fixture
def path(manifest: Manifest, tmp_path: Path) -> Path:
    write_beton(manifest, tmp_path / "raw", tmp_path / "train.beton", PARAMS, 2)
    return tmp_path / "train.beton"


def test_it_holds_what_decides_the_bytes(manifest: Manifest, path: Path) -> None:
    facts = open_beton(path).provenance.facts

    assert facts["params"] == PARAMS.model_dump(exclude={"part_mb"})
    assert facts["manifest"] == {"sha256": hashlib.sha256(manifest.path.read_bytes()).hexdigest(), "images": 12}
    assert facts["class_names"] == {"0": "Löwe", "1": "cat"}
    assert facts["software"]["pillow"] == Image.__version__
    assert facts["software"]["libjpeg_turbo"] == features.version("libjpeg_turbo")


def test_it_holds_nothing_that_differs_between_machines(manifest: Manifest, path: Path, tmp_path: Path) -> None:
    text = json.dumps(open_beton(path).provenance.facts)

    assert str(tmp_path) not in text
    assert os.uname().nodename not in text
    assert json.loads(provenance.encode_json(provenance.describe(manifest, PARAMS))) == json.loads(text)


def test_every_sample_has_its_checksum(path: Path) -> None:
    beton, content = open_beton(path), path.read_bytes()

    for sample in range(12):
        data = content[beton.offsets[sample] : beton.offsets[sample] + beton.sizes[sample]]
        assert beton.is_intact(sample, data)
        assert beton.is_intact(sample, np.frombuffer(data, np.uint8))
        assert beton.is_intact(sample, memoryview(data))
        assert not beton.is_intact((sample + 1) % 12, data)
        assert not beton.is_intact(sample, data[:-1])
        assert not beton.is_intact(sample, bytes([data[0] ^ 1]) + data[1:])


def test_it_lies_between_the_metadata_and_the_samples(path: Path) -> None:
    beton, content = open_beton(path), path.read_bytes()

    start = content.rindex(provenance.MAGIC)

    assert start == layout.HEADER.itemsize + 2 * layout.FIELD.itemsize + 12 * layout.METADATA.itemsize
    text = provenance.encode_json(beton.provenance.facts)
    assert beton.offsets.min() == start + provenance.PROVENANCE.itemsize + len(text) + 12 * provenance.CHECKSUM.itemsize
    assert beton.provenance.end == beton.offsets.min()


def rewrite(path: Path, **values: object) -> None:
    """Set fields of the header of the provenance."""
    content = bytearray(path.read_bytes())
    block = np.frombuffer(content, provenance.PROVENANCE, 1, content.rindex(provenance.MAGIC))
    for name, value in values.items():
        block[name] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"version": 4}, "its provenance is of version 4, not 2 or 3"),
        ({"version": 3}, "its tables do not have the checksum"),
        ({"version": 1}, "its tables do not have the checksum"),
        ({"magic": b"FORMWORJ"}, "its provenance is not where it should be"),
        ({"json_bytes": 2**32 - 1}, "it has only"),
        ({"json_bytes": 3}, "its tables do not have the checksum"),
        ({"digest": 0}, "its tables do not have the checksum"),
    ],
)
def test_a_damaged_one_is_an_error(path: Path, values: dict[str, object], reason: str) -> None:
    rewrite(path, **values)

    with pytest.raises(BetonError, match=reason):
        open_beton(path)


def test_a_beton_without_one_opens(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(provenance.MAGIC, bytes(8)))

    beton = open_beton(path)

    assert beton.provenance is None
    assert beton.checksums is None
    assert not beton.padding.any()


def as_of_version_1(path: Path) -> None:
    """Write a beton's provenance as it was before: without marks, and with the start of a SHA-256 for each sample, in
    half of the place of its JSON."""
    beton, content = open_beton(path), bytearray(path.read_bytes().replace(provenance.MAGIC, bytes(8)))
    start = layout.HEADER.itemsize + 2 * layout.FIELD.itemsize
    metadata = bytes(content[start : start + 12 * layout.METADATA.itemsize])
    places = zip(beton.offsets.tolist(), beton.sizes.tolist(), strict=True)
    checksums = b"".join(hashlib.sha256(content[at : at + size]).digest()[:16] for at, size in places)
    text = json.dumps({"manifest": beton.provenance.facts["manifest"], "class_names": {}}).encode()
    table = int(np.frombuffer(content, layout.HEADER, 1)["alloc_table_ptr"][0])
    digest = provenance.digest_of([bytes(content[:start]), metadata, text, checksums, bytes(content[table:])])
    block = np.array((provenance.MAGIC, 1, len(text), np.frombuffer(digest, np.uint8)), provenance.PROVENANCE).tobytes()
    block += text + checksums
    assert start + len(metadata) + len(block) <= beton.offsets.min()
    content[start + len(metadata) : start + len(metadata) + len(block)] = block
    path.write_bytes(content)


def test_a_beton_of_before_is_read_as_it_is(path: Path) -> None:
    as_of_version_1(path)

    beton, content = open_beton(path), path.read_bytes()

    assert beton.provenance.version == 1
    assert beton.checksums is None  # which a loader could compare with
    for sample, (at, size) in enumerate(zip(beton.offsets.tolist(), beton.sizes.tolist(), strict=True)):
        assert beton.is_intact(sample, content[at : at + size])
        assert not beton.is_intact(sample, content[at : at + size - 1])


@pytest.mark.parametrize("change", [{"jpeg_quality": 78}, {"seed": 1}, {"passthrough": False}])
def test_other_params_are_another_beton(manifest: Manifest, path: Path, tmp_path: Path, change: dict) -> None:
    before = path.read_bytes()

    write_beton(manifest, tmp_path / "raw", path, PARAMS.model_copy(update=change), 1)

    assert path.read_bytes() != before
    assert open_beton(path).provenance.facts["params"] == PARAMS.model_dump(exclude={"part_mb"}) | change
