"""The sample is fair and always the same one, and the extrapolated size is as near to the truth as it says."""

from collections import Counter

import numpy as np
import pytest

from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.images.manifest import write_manifest
from formwork.images.row import Row
from formwork.params import BetonParams
from formwork.tools.tune.grid import LEAST
from formwork.tools.tune.sample import FEWEST, MOST, Images, choose, extrapolate, usual_number
from tests.make_images import make_dataset, make_manifest


def rows(counts: list[int]) -> list[Row]:
    return [
        Row(f"{label}/{number}", str(label), label, 10, 4, 4, "L", "PNG", "")
        for label, count in enumerate(counts)
        for number in range(count)
    ]


def test_each_class_has_its_share():
    chosen = choose(rows([700, 200, 99, 1]), 100, seed=0)
    counts = Counter(row.label for row in chosen)
    for label, expected in enumerate((70, 20, 9.9, 0.1)):
        assert abs(counts[label] - expected) <= 1
    assert len({row.path for row in chosen}) == 100


def test_the_sample_follows_from_the_seed_and_not_from_the_order_of_the_rows():
    many = rows([500, 500])
    chosen = choose(many, 50, seed=1)
    assert choose(many[::-1], 50, seed=1) == chosen
    assert {row.path for row in choose(many, 50, seed=2)} != {row.path for row in chosen}


@pytest.mark.parametrize("number", [1000, 1001])
def test_all_images_are_a_sample(number):
    assert {row.path for row in choose(rows([500, 500]), number, seed=0)} == {row.path for row in rows([500, 500])}


def test_few_large_images_and_many_small_ones():
    def number(side: int) -> int:
        return usual_number([Row("a", "a", 0, 1, side, side, "RGB", "PNG", "")])

    assert number(8) == MOST
    assert number(433) == 256
    assert number(4000) == FEWEST


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """160 JPEGs and PNGs of 20 to 330 pixels a side, in a train and a val split."""
    root = tmp_path_factory.mktemp("sizes")
    rng = np.random.default_rng(0)
    sides = [tuple(map(int, rng.integers(20, 330, 2))) for _ in range(80)]
    make_dataset(root / "raw", ("a", "b"), 60, sides, "JPEG", content="noise")
    make_dataset(root / "raw", ("c", "d"), 20, sides, "PNG", content="photo")
    everything = make_manifest(root / "raw", root / "all.csv").rows
    splits = {"train": everything[::2] + everything[1::4], "val": everything[3::4]}
    return root, {name: write_manifest(root / f"{name}.csv", part) for name, part in splits.items()}


def estimates(photos, params, number, seeds) -> tuple[list, int]:
    """Sizes judged from samples of this size, and the size of both betons."""
    root, splits = photos
    truth = 0
    for manifest in splits.values():
        write_beton(manifest, root / "raw", root / "real.beton", params, 2)
        truth += (root / "real.beton").stat().st_size
    everything = [row for manifest in splits.values() for row in manifest.rows]
    sizes = []
    for seed in seeds:
        sample = write_manifest(root / "sample.csv", choose(everything, number, seed))
        write_beton(sample, root / "raw", root / "sample.beton", params, 2)
        beton = open_beton(root / "sample.beton")
        sizes.append(extrapolate(beton, Images(sample.rows), Images(everything), params.max_resolution))
    return sizes, truth


@pytest.mark.parametrize(
    ("params", "narrow"),
    [
        (BetonParams(write_mode="raw"), 0.02),  # a gap between pages more or less
        (BetonParams(write_mode="raw", max_resolution=40), 0.001),
        (BetonParams(write_mode="jpg", max_resolution=200), 0.25),
        (BetonParams(write_mode="smart", max_resolution=100), 0.2),
        (BetonParams(write_mode="proportion"), 0.5),
    ],
)
@pytest.mark.parametrize("number", [LEAST, 60])
def test_the_true_size_is_mostly_within_the_spread(photos, params, narrow, number):
    sizes, truth = estimates(photos, params, number, range(12))
    hits = [abs(size.estimate - truth) <= size.spread + 0.003 * truth for size in sizes]
    # Of 20 images that are JPEG or not by chance little is known: with the seeds 0 to 7, 8 to 12 of 12 samples hit.
    assert sum(hits) >= (8 if params.write_mode == "proportion" and number == LEAST else 10)
    assert np.median([size.spread for size in sizes]) < narrow * truth


def test_of_all_images_the_size_is_known(photos):
    (size,), truth = estimates(photos, BetonParams(write_mode="jpg", max_resolution=60), 160, [0])
    assert size.estimate == pytest.approx(truth, rel=1e-3)
    assert size.spread < 1e-3 * truth
    assert size.most == size.estimate + size.spread


def test_large_images_leave_gaps_between_pages(tmp_path):
    """Three of 2.4 MB fit into a page of 8 MB: a seventh of each page stays free."""
    make_dataset(tmp_path / "raw", ("a", "b"), 12, (1000, 800))
    manifest = make_manifest(tmp_path / "raw", tmp_path / "all.csv")
    write_beton(manifest, tmp_path / "raw", tmp_path / "all.beton", BetonParams(write_mode="raw"), 2)
    sample = write_manifest(tmp_path / "sample.csv", choose(manifest.rows, LEAST, 0))
    write_beton(sample, tmp_path / "raw", tmp_path / "sample.beton", BetonParams(write_mode="raw"), 2)
    size = extrapolate(open_beton(tmp_path / "sample.beton"), Images(sample.rows), Images(manifest.rows), None)
    truth = (tmp_path / "all.beton").stat().st_size
    assert abs(size.estimate - truth) <= size.spread < 0.06 * truth
