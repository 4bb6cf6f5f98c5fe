"""A small model with random weights, images, and the table that `predict` writes of them."""

import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from formwork.interim.settings import Settings
from formwork.models.build import build_model
from formwork.models.model_file import save_model
from formwork.params import Model as ModelParams
from formwork.prediction.model import Model, load_model
from formwork.tools.predict.predict import predict

CLASSES = Settings(
    name="noise",
    class_names=["a", "b", "c", "d"],
    resolution=8,
    mean=[0.5] * 3,
    std=[0.2] * 3,
    augment_train=[],
    augment_val=[{"Resize": {}}],
)
OF_TASK = {
    "classes": CLASSES,
    "multilabel": CLASSES.model_copy(update={"task": "multilabel"}),
    "regression": CLASSES.model_copy(
        update={
            "task": "regression",
            "class_names": [],
            "target_names": ["age", "error"],
            "target_mean": [40.0, 1.0],
            "target_std": [9.0, 0.1],
        }
    ),
}


def random_weights(settings: Settings) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_model(ModelParams(), settings.outputs, settings.resolution).state_dict()


def random_model(path: Path, task: str = "classes") -> Path:
    save_model(path, ModelParams(), OF_TASK[task], random_weights(OF_TASK[task]), epoch=1, val={})
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(here: Path) -> Model:
    return load_model(random_model(here / "m.pt"))


def png(number: int, side: int = 9) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side + 2, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(path: str | bytes, content: bytes) -> None:
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def table(model: Model, *arguments: str, name: str = "out.csv", **options: int) -> list[dict[str, str]]:
    predict(model, arguments, Path(name), **options)
    with open(name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answers(rows: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    return {row["path"]: (row["class"], row["probability"]) for row in rows}
