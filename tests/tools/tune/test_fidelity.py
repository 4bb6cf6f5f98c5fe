"""PSNR is what its formula says, of images brought to the training resolution."""

import math

import numpy as np
import pytest
from PIL import Image

from formwork.errors import DatasetError
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.tools.tune.fidelity import compare, originals, view
from tests.make_images import make_dataset, make_manifest


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (6, 24, 24, 3), dtype=np.uint8)


def test_the_same_pixels_are_exact(images):
    found = compare(images, images.copy())
    assert found.psnr == found.worst_psnr == math.inf


def test_an_error_of_one_everywhere(images):
    found = compare(images + np.uint8(1), images)
    assert found.psnr == pytest.approx(48.1308, abs=1e-4)
    assert found.worst_psnr == pytest.approx(48.1308, abs=1e-4)


def test_the_worst_image_has_a_number_of_its_own(images):
    other = images.copy()
    other[2] += 6
    found = compare(other, images)
    assert found.psnr == pytest.approx(10 * math.log10(255**2 / 6))
    assert found.worst_psnr == pytest.approx(10 * math.log10(255**2 / 36))


@pytest.mark.parametrize(
    ("operations", "name"),
    [
        ([{"Resize": {}}, {"RandomCrop": {"padding": 2}}], "Resize"),
        ([{"CenterCrop": {"ratio": 0.5}}, {"RandomHorizontalFlip": {}}, {"RandomEqualize": {}}], "CenterCrop"),
        ([{"RandomResizedCrop": {}}], "CenterCrop"),
        ([], "CenterCrop"),
    ],
)
def test_images_are_compared_without_what_is_random(operations, name):
    validation = Augmentation(operations, 12, 0)
    fixed = view(validation)
    assert [found for found, _ in fixed.geometric] == [name]
    assert fixed.steps == []
    assert fixed.resolution == 12
    if "ratio" in str(operations):
        assert fixed.geometric[0][1].ratio == 0.5
        assert len(validation.geometric) == 2  # as it was


def test_originals_are_those_of_the_pytorch_loader(tmp_path):
    make_dataset(tmp_path / "raw", size=[(30, 20), (12, 40)])
    manifest = make_manifest(tmp_path / "raw", tmp_path / "all.csv")
    found = originals(manifest, tmp_path / "raw", Augmentation([{"Resize": {}}], 16, 0), workers=2)
    assert found.shape == (16, 16, 16, 3)
    for row, image in zip(manifest.rows, found, strict=True):
        with Image.open(tmp_path / "raw" / row.path) as original:
            assert np.array_equal(image, original.resize((16, 16), Image.Resampling.BILINEAR))
    (tmp_path / "raw" / manifest.rows[3].path).write_bytes(b"")
    with pytest.raises(DatasetError, match=r"003\.png: cannot identify"):
        originals(manifest, tmp_path / "raw", Augmentation([], 16, 0), workers=2)
