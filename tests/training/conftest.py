"""A dataset that a model learns in two epochs: squares of a colour for each class, in a project folder of its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.conversion.write import write_beton
from formwork.datasets.link import link
from formwork.folders import Folders
from formwork.images.manifest import read_manifest
from formwork.params import Params
from formwork.yaml import dump_yaml

COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (200, 40, 50)}
PARAMS = {
    "data": {"name": "colours", "batch_size": 16, "split": {"val": 0.3, "test": 0}, "num_workers": 1},
    "trainer": {"max_epochs": 2, "accelerator": "cpu"},
    "datasets": {"colours": {"resolution": 12}},
}


def make_params(**sections: dict) -> Params:
    """PARAMS with some keys changed: make_params(model={"name": "rcnn"})."""
    return Params.model_validate(merged(**sections))


def merged(**sections: dict) -> dict:
    return PARAMS | {
        name: PARAMS.get(name, {}) | values if isinstance(values, dict) else values for name, values in sections.items()
    }


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with params.yaml and data/, linked and converted. 90 images, about 60 of them for training."""
    root = tmp_path_factory.mktemp("project")
    (root / "params.yaml").write_text(dump_yaml(PARAMS))
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for number in range(30):
            path = root / f"data/raw/colours/{name}/{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.clip(np.array(colour) + rng.integers(-60, 60, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path)
    params = make_params()
    folders = folders_of(root)
    link(params, folders.raw, folders.interim, root / "bad.csv")
    for split in ("train", "val"):
        manifest = read_manifest(folders.interim / f"{split}.csv")
        write_beton(manifest, folders.raw, folders.processed / f"{split}.beton", params.ffcv.beton, workers=1)
    return root


def folders_of(root: Path) -> Folders:
    return Folders(*(root / "data" / kind / "colours" for kind in ("raw", "interim", "processed")))


@pytest.fixture
def folders(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Folders:
    """The project's data, while the test runs in a folder of its own: DVCLive looks for a repository around it."""
    monkeypatch.chdir(tmp_path)
    return folders_of(project)


@pytest.fixture
def run(folders: Folders, tmp_path: Path) -> Callable[..., Path]:
    """run("name", model={...}): train with make_params(model={...}); gives the folder of the results."""
    from formwork.training.fit import train

    def go(name: str, **sections: dict) -> Path:
        out = tmp_path / name
        train(make_params(**sections), folders, out / "best.pt", out / "train", out / "speed")
        return out

    return go
