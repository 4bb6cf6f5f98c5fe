"""The chart of label counts names and numbers every class where there are few, and stays small where there are many."""

import numpy as np
import pytest
from PIL import Image

from formwork.tools.preview.counts import NAMED, label_counts, summary
from tests.svg import texts


def test_every_one_of_few_classes_has_its_name_and_its_numbers(tmp_path):
    counts = {"train": np.array([1300, 0, 77]), "val": np.array([50, 51, 52])}
    label_counts(tmp_path / "counts.svg", "pets", ["cat", "a $5 dog", "a\nfish \udcff"], counts)
    written = texts(tmp_path / "counts.svg")
    for text in ("cat", "a $5 dog", r"a\x0afish \udcff", "1,300", "0", "77", "50", "51", "52", "train", "val"):
        assert text in written
    assert any("train: 1,377 images, 0 to 1,300 a class" in text for text in written)


@pytest.mark.parametrize("classes", [NAMED + 1, 1000])
def test_many_classes_are_one_small_chart(tmp_path, classes):
    rng = np.random.default_rng(0)
    names = [f"n{number:08d}, a name of some length, or even more" for number in range(classes)]
    counts = {"train": rng.permutation(np.arange(classes) + 5), "val": np.full(classes, 50)}
    label_counts(tmp_path / "counts.svg", "many", names, counts)
    label_counts(tmp_path / "counts.png", "many", names, counts)
    written = texts(tmp_path / "counts.svg")
    assert len(written) < 40
    most, fewest = names[int(counts["train"].argmax())], names[int(counts["train"].argmin())]
    below = "\n".join(written)
    assert f"most: {most[:31]}… ({classes + 4:,}), " in below
    assert f"{fewest[:31]}… (5)" in below
    assert any(text.endswith("val: " + f"{50 * classes:,} images, 50 a class") for text in written)
    with Image.open(tmp_path / "counts.png") as picture:
        assert picture.width < 1400
        assert picture.height < 1000


def test_the_sorted_chart_falls_from_left_to_right(tmp_path):
    """As many columns of colour as the counts of the classes say."""
    counts = {"train": np.array([10] * 50 + [100] * 50), "val": np.zeros(100, int)}
    label_counts(tmp_path / "counts.png", "two sizes", [f"c{n}" for n in range(100)], counts)
    picture = np.asarray(Image.open(tmp_path / "counts.png").convert("RGB")).astype(int)
    filled = np.all(np.abs(picture - (0xCC, 0x79, 0xA7)) < 10, axis=-1).sum(axis=0)
    filled = filled[filled > 0]
    left, right = np.array_split(filled, 2)
    assert np.median(left) == pytest.approx(10 * np.median(right), rel=0.1)


def test_a_summary_says_the_range_where_there_is_one():
    counts = {"train": np.array([1, 3]), "val": np.array([2, 2])}
    assert summary(counts) == "train: 4 images, 1 to 3 a class; val: 4 images, 2 a class"
