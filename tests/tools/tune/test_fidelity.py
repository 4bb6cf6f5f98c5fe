"""PSNR and SSIM are what their formulas say, of images brought to the training resolution."""

import math

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from formwork.errors import DatasetError
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.tools.tune.fidelity import SSIM_PIXELS, compare, originals, view
from tests.make_images import make_dataset, make_manifest


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(40, 200, (6, 24, 24, 3), dtype=np.uint8)


def test_the_same_pixels_are_exact(images):
    found = compare(images, images.copy())
    assert found.psnr == found.worst_psnr == math.inf
    assert found.ssim == 1.0


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


def test_ssim_is_that_of_its_authors(images):
    """Equation 13, with the constants and the Gaussian window of section III of the paper, as SciPy makes it."""
    noisy = np.clip(images + np.random.default_rng(1).normal(0, 15, images.shape), 0, 255).astype(np.uint8)

    def blur(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, (0, 1.5, 1.5, 0), truncate=5 / 1.5, mode="mirror")

    x, y = noisy.astype(float), images.astype(float)
    mx, my = blur(x), blur(y)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mx * my + c1) * (2 * (blur(x * y) - mx * my) + c2)
    bottom = (mx**2 + my**2 + c1) * (blur(x * x) - mx**2 + blur(y * y) - my**2 + c2)
    assert compare(noisy, images).ssim == pytest.approx((top / bottom).mean(), abs=1e-3)


@pytest.mark.parametrize(("side", "has"), [(5, False), (6, True), (8, True)])
def test_images_too_small_for_its_window_have_no_ssim(side, has):
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    found = compare(images // 2, images)
    assert (found.ssim is not None) == has
    assert found.psnr < 20


def test_ssim_looks_at_a_fair_part_of_many_images(monkeypatch, images):
    """Those at equal distances: the first ones would be of the first class."""
    other = images.copy()
    other[3:] //= 2
    monkeypatch.setattr("formwork.tools.tune.fidelity.SSIM_PIXELS", 2 * 24**2)
    assert compare(other, images).ssim == pytest.approx(compare(other[[0, 3]], images[[0, 3]]).ssim)
    assert SSIM_PIXELS > 2 * 24**2


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
    assert fixed.torchvision == []
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
