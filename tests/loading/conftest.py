"""A small dataset of odd-sized images, linked and converted by the real stages' code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.conversion.write import write_beton
from formwork.datasets.link import link
from formwork.images.manifest import read_manifest
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.params import BetonParams, Params

RESOLUTION = 20
CLASSES = ("class 0", "class 1", "class 2")
TRAIN = [
    {"RandomResizedCrop": {"scale": [0.2, 1.0]}},
    {"RandomCrop": {"padding": 3}},
    {"RandomHorizontalFlip": {}},
]


def make_config(operations: list | None = None, **changes) -> LoaderConfig:
    """LoaderConfig with random crops, shifts and flips, unless told otherwise."""
    augmentation = Augmentation(TRAIN if operations is None else operations, RESOLUTION, 3, "augment.train")
    defaults = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), "batch_size": 16, "seed": 3, "num_workers": 2}
    return LoaderConfig(augmentation=augmentation, **(defaults | changes))


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/: 3 classes of 40 PNG images, 1 to 60 pixels a side, listed in manifests; 70 of them for training."""
    data = tmp_path_factory.mktemp("loading") / "data"
    rng = np.random.default_rng(0)
    for number in range(120):
        path = data / "raw" / "odd" / ("train" if number < 70 else "val") / f"class {number % 3}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(1, 61, size=2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    params = Params.model_validate({"data": {"name": "odd"}})
    link(params, data / "raw/odd", data / "interim/odd", data / "bad.csv")
    return data


@pytest.fixture(scope="session")
def make_split(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SplitFiles]:
    """make_split("train", write_mode="jpg", ...): a split with a beton of its own, written with these params."""

    def make(name: str = "train", **beton) -> SplitFiles:
        manifest = read_manifest(dataset / f"interim/odd/{name}.csv")
        path = tmp_path_factory.mktemp("beton") / f"{name}.beton"
        write_beton(manifest, dataset / "raw/odd", path, BetonParams(**({"write_mode": "raw"} | beton)), workers=2)
        return SplitFiles(name, manifest, path, dataset / "raw/odd")

    return make


@pytest.fixture(scope="session")
def split(make_split: Callable[..., SplitFiles]) -> SplitFiles:
    """The training split, stored raw. Not to be damaged: use make_split for that."""
    return make_split()
