"""Both loaders agree to the last bit on images of any proportions, and on any part of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from formwork.conversion.write import write_beton
from formwork.datasets.link import link
from formwork.images.manifest import read_manifest
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.params import BetonParams, Params

SIZES = [(1, 1), (1, 40), (40, 1), (2, 2), (24, 24), (20000, 30), (30, 20000), (300, 25), (23, 300), (5, 3)]
"""(width, height)"""
SHIFT_AND_FLIP = [{"RandomCrop": {"padding": 30}}, {"RandomHorizontalFlip": {}}]


@pytest.fixture(scope="module")
def extremes(tmp_path_factory: pytest.TempPathFactory) -> SplitFiles:
    """Two images of each size, stored raw."""
    data = tmp_path_factory.mktemp("extremes")
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES * 2):
        for split in ("train", "val"):
            path = data / "raw" / split / ("a", "b")[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    link(Params.model_validate({"data": {"name": "extremes"}}), data / "raw", data, data / "bad.csv")
    manifest = read_manifest(data / "train.csv")
    write_beton(manifest, data / "raw", data / "train.beton", BetonParams(write_mode="raw"), workers=2)
    return SplitFiles("train", manifest, data / "train.beton", data / "raw")


@pytest.mark.parametrize("resolution", [1, 2, 24, 97])
@pytest.mark.parametrize("fitting", ["Resize", "CenterCrop", "RandomResizedCrop"])
def test_equal_to_the_last_bit(extremes, fitting, resolution):
    augmentation = Augmentation([{fitting: {}}, *SHIFT_AND_FLIP], resolution, seed=1)
    options = LoaderConfig(augmentation, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), batch_size=7, num_workers=0)
    ffcv, pytorch = FFCVDataLoader(extremes, options), PyTorchDataLoader(extremes, options)
    for _ in range(2):
        for (ours, _), (theirs, _) in zip(ffcv, pytorch, strict=True):
            assert torch.equal(ours, theirs)
