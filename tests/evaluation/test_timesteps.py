"""The table of scores by timestep has what metrics.json would have for the outputs of each."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from formwork.evaluation.metrics import METRICS
from formwork.evaluation.predictions import predict
from formwork.evaluation.timesteps import write_timesteps
from formwork.interim.settings import Settings
from formwork.models.model_file import TrainedModel
from formwork.models.presentation import Presented
from formwork.params import Model
from formwork.tasks import task_of

ONCE = np.ones((37, 1))  # each image of `batches`
STEPS = 3


def settings(task: str) -> Settings:
    numbers = {"class_names": [], "target_names": ["a", "b"], "target_mean": [1.0, -5.0], "target_std": [0.5, 20.0]}
    return Settings(
        name="noise",
        task=task,
        resolution=4,
        mean=[0.5] * 3,
        std=[0.5] * 3,
        augment_train=[],
        augment_val=[],
        **(numbers if task == "regression" else {"class_names": ["a", "b"]}),
    )


class Alternating(nn.Module):
    """Two outputs, other ones at each timestep."""

    recurrent = True

    def forward(self, frames):
        signs = torch.tensor([1.0, -2.0, 3.0]).view(1, -1, 1)
        return frames.mean(dim=(3, 4))[..., :2] * signs


def batches(task: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for count in (16, 16, 5):
        images = torch.randn(count, 3, 4, 4, generator=generator)
        targets = torch.rand(count, 2, generator=generator)
        if task == "multilabel":
            targets = (targets > 0.5).float()
        found.append((images, torch.randint(0, 2, (count,), generator=generator) if task == "classes" else targets))
    return found


@pytest.mark.parametrize("task", ["classes", "multilabel", "regression"])
def test_scores_of_each_timestep(task: str) -> None:
    of, score = settings(task), task_of(settings(task)).score

    def run(data: list, **values: object):
        params = Model(name="rcnn", timesteps=STEPS, **values)
        return predict(TrainedModel(Presented(Alternating(), params), of, params), data, torch.device("cpu"), "val")

    found = run(batches(task))
    assert len(found.by_step) == STEPS
    assert len({score for score, _ in found.by_step}) > 1
    for step, (of_score, loss) in enumerate(found.by_step, start=1):
        alone = METRICS[task](run(batches(task), loss_steps=[step]), of).of(ONCE).overall
        assert of_score == pytest.approx(alone[score], rel=1e-5)
        assert loss == pytest.approx(alone["loss"], rel=1e-5)
    with_time = [tuple(part.unsqueeze(1).expand(-1, STEPS, *part.shape[1:]) for part in one) for one in batches(task)]
    assert run(with_time).by_step == found.by_step  # as a loader gives them


def test_the_table(tmp_path: Path) -> None:
    by_split = {"val": [(0.5, 1.0), (0.75, 0.5)], "test": [(0.25, 2.0), (1.0, math.nan)]}
    write_timesteps(tmp_path / "t.csv", (True, False), by_split)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [row["step"] for row in rows] == ["1", "2"]
    assert [row["shown"] for row in rows] == ["1", "0"]
    assert [float(row["val_score"]) for row in rows] == [0.5, 0.75]
    assert [float(row["test_loss"]) for row in rows[:1]] == [2.0]
    write_timesteps(tmp_path / "t.csv", (True,), {"val": []})
    assert (tmp_path / "t.csv").read_text().split() == ["step,shown,val_score,val_loss"]
