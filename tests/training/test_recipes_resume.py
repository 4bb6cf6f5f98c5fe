"""Whatever the recipe, a run that is killed again and again ends as if nothing had happened."""

import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.training import forked
from tests.training.killed import write_down_and_die
from tests.training.test_fit import curve, files

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
