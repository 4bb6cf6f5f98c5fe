"""The benchmark of parts: one file and parts of the same images, each way of loading them, and its tables."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import parts
from benchmarks.loader_process import Job
from benchmarks.parts import KINDS, MANY, ONE, WAYS, Found, body, make_betons, measure, opening
from formwork.beton.read import open_beton
from formwork.images.manifest import read_manifest
from formwork.tools.measure import Rates
from tests.benchmarks.conftest import LoaderHere

pytestmark = pytest.mark.slow

SMALL = KINDS[1]
IMAGES = 1200


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PARTS", 10)
        folder = tmp_path_factory.mktemp("betons") / "small"
        make_betons(folder, SMALL, IMAGES, workers=1)
    return folder


def test_parts_and_one_file_hold_the_same_samples(folder: Path) -> None:
    manifest = read_manifest(folder / "train.csv")
    one, many = (open_beton(folder / name) for name in (ONE, MANY))
    assert len(one.files) == 1
    assert 8 <= len(many.files) <= 20
    assert len(one) == len(many) == len(manifest) == IMAGES
    assert np.array_equal(one.of_manifest(manifest).sizes, many.of_manifest(manifest).sizes)
    assert opening(folder, MANY) > 0


@pytest.mark.parametrize("way", [way for way in WAYS if "descriptors" not in way])  # that sets a limit for the process
def test_each_way_gives_the_same_batches_from_either(folder: Path, way: str) -> None:
    found = []
    for name in (ONE, MANY):
        job = Job(folder, folder, folder / name, SMALL.crop, SMALL.side, SMALL.batch_size, workers=1)
        loader = WAYS[way](job)()
        epochs = [[(images.clone(), labels.clone()) for images, labels in loader] for _ in range(2)]
        found.append(epochs)
        assert [len(epoch) for epoch in epochs] == 2 * [IMAGES // SMALL.batch_size]
        assert not epochs[0][0][0].equal(epochs[1][0][0]), "the second epoch has another order"
    for one, many in zip(*found, strict=True):
        assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(one, many, strict=True))


def test_the_table_has_the_ratio_of_parts_to_one_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LoaderProcess", LoaderHere)
    found = measure(folder, SMALL, "random", workers=1, rounds=2)
    assert all(len(found[name].cpu.values) == 2 and found[name].rates.median > 0 for name in (ONE, MANY))
    found = {
        ONE: Found(Rates((100.0, 200.0)), Rates((10.0, 10.0))),
        MANY: Found(Rates((98.0, 200.0)), Rates((9.5, 9.5))),
    }
    text = body({"small": {"random": found}}, {"small": {ONE: 0.5, MANY: 1.25}}, 1000, 2, 2)
    assert "| small, 1,000 | random | 150 ± 33% | 149 ± 34% | 0.99 x | **0.950 x** |" in text
    assert "| small, 1,000 | 0.50 | 1.25 |" in text
