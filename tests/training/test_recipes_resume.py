"""Whatever the recipe, a run that is killed again and again ends as if nothing had happened."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from formwork.training import module
from tests.training import forked
from tests.training.killed import write_down_and_die
from tests.training.test_fit import curve, files
from tests.training.test_several_nodes import train_on

pytestmark = pytest.mark.slow

ACCUMULATED = {
    "train": {
        "optimizer": "SGD",
        "optimizer_options": {"momentum": 0.9},
        "schedule": "cosine",
        "warmup_epochs": 1.5,
        "ema": 0.5,
    },
    "trainer": {"max_epochs": 3, "accumulate_grad_batches": 2, "check_val_every_n_epoch": 2, "gradient_clip_val": 1},
}
SHORT = {
    "train": {"lr": 1e-5, "schedule": "step", "schedule_options": {"milestones": [1]}, "lr_scale": {"11": 10}},
    "trainer": {"max_epochs": 9, "limit_train_batches": 2, "early_stopping": 2, "monitor": "val/accuracy"},
}


def train(workspace: Path, kill_after: int, recipe: dict[str, Any]) -> bool:
    """Train in a copy of this process; whether it came to its end."""
    for out in ("train", "speed"):  # as DVC does before it runs the stage
        shutil.rmtree(workspace / out, ignore_errors=True)
    trainer = {"accelerator": "cpu", "checkpoint_minutes": 0} | recipe["trainer"]
    hook = lambda: write_down_and_die(kill_after)  # noqa: E731
    status, output = forked.finish(*forked.start(workspace, hook, **recipe | {"trainer": trainer}))
    assert status in (0, -signal.SIGKILL), output
    return status == 0


@pytest.mark.parametrize(
    ("recipe", "kills", "epochs"), [(ACCUMULATED, [1] * 6, 3), (SHORT, [3, 2, 1], 3)], ids=["accumulated", "short"]
)
def test_killed_again_and_again(project: Path, tmp_path: Path, recipe: dict, kills: list[int], epochs: int) -> None:
    whole, killed = (Path(shutil.copytree(project, tmp_path / name, symlinks=True)) for name in ("whole", "killed"))
    assert train(whole, 0, recipe)
    for number in kills:
        assert not train(killed, number, recipe)
    assert train(killed, 0, recipe)
    assert (killed / "models/best.pt").read_bytes() == (whole / "models/best.pt").read_bytes()
    assert files(killed / "train") == files(whole / "train")
    assert len(curve(whole / "train", "train/loss")[1:]) == epochs
    if recipe is ACCUMULATED:
        assert [epoch for epoch, _ in curve(whole / "train", "val/loss")] == ["step", "2", "3"]


TWO_NODES = {
    "train": {"optimizer": "SGD", "lr": 0.05, "schedule": "linear", "ema": 0.5},
    "trainer": {
        "max_epochs": 9,
        "accumulate_grad_batches": 2,
        "gradient_clip_val": 1,
        "early_stopping": 1,
        "check_val_every_n_epoch": 2,
        "checkpoint_minutes": 0,
    },
}


def without_batch_norm() -> None:
    """Whose statistics would be those of the images of each process."""
    module.build_model = lambda params, outputs, resolution: nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, outputs)
    )


def test_two_processes_do_what_one_does_also_when_they_are_killed(project: Path, tmp_path: Path) -> None:
    one, two, killed = (Path(shutil.copytree(project, tmp_path / name, symlinks=True)) for name in ("1", "2", "k"))

    def both(folder: Path, kill_after: int) -> None:
        def hook() -> None:
            without_batch_norm()
            write_down_and_die(kill_after)

        sections = {**TWO_NODES, "trainer": TWO_NODES["trainer"] | {"num_nodes": 2}}
        results = train_on(folder, folder, hooks={0: hook, 1: hook}, sections={0: sections, 1: sections})
        assert [status for status, _ in results] == [-signal.SIGKILL if kill_after else 0] * 2, results

    status, output = forked.finish(*forked.start(one, without_batch_norm, **TWO_NODES))
    assert status == 0, output
    both(two, 0)
    expected, found = (torch.load(folder / "models/best.pt", weights_only=True) for folder in (one, two))
    assert found["epoch"] == expected["epoch"]
    for name, value in found["weights"].items():
        torch.testing.assert_close(value, expected["weights"][name], rtol=1e-4, atol=1e-6)
    assert curve(two / "train", "val/accuracy") == curve(one / "train", "val/accuracy")
    assert 2 < len(curve(two / "train", "train/loss")) < 10  # it has stopped early

    for number in (3, 2):
        both(killed, number)
    both(killed, 0)
    assert (killed / "models/best.pt").read_bytes() == (two / "models/best.pt").read_bytes()
    assert files(killed / "train") == files(two / "train")
