"""Other programs get the curves of a training, each epoch once, also of one that was killed; results stay the same."""

import csv
import shutil
import signal
from pathlib import Path

import pytest

from formwork.errors import ParamsError
from formwork.training.recipe import check_loggers
from tests.training import forked
from tests.training.killed import write_down_and_die
from tests.training.test_fit import curve, files

pytestmark = pytest.mark.slow

EPOCHS = ["1", "2", "3"]
ALL = ["csv", "tensorboard", "mlflow", "wandb"]


def train(workspace: Path, loggers: list[str], kill_after: int = 0) -> None:
    shutil.rmtree(workspace / "train", ignore_errors=True)
    trainer = {"accelerator": "cpu", "max_epochs": 3, "checkpoint_minutes": 0, "loggers": loggers}
    status, output = forked.finish(*forked.start(workspace, lambda: write_down_and_die(kill_after), trainer=trainer))
    assert status == (-signal.SIGKILL if kill_after else 0), output
    assert "arning" not in output, output


def test_each_has_every_epoch_once_after_a_kill(project: Path, tmp_path: Path) -> None:
    for package in ("tensorboard", "mlflow", "wandb"):
        pytest.importorskip(package)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    without, with_all = (Path(shutil.copytree(project, tmp_path / name, symlinks=True)) for name in ("none", "all"))
    train(without, [])
    assert not (without / "logs").exists()
    train(with_all, ALL, kill_after=7)  # after the first step of the third epoch, when two are logged
    train(with_all, ALL)
    assert (with_all / "models/best.pt").read_bytes() == (without / "models/best.pt").read_bytes()
    assert files(with_all / "train") == files(without / "train")

    (run,) = (with_all / "logs/csv").iterdir()
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == EPOCHS
    expected = [float(value) for _, value in curve(with_all / "train", "val/loss")[1:]]
    assert [float(row["val/loss"]) for row in rows] == pytest.approx(expected)
    assert "train.lr: 0.003" in (run / "hparams.yaml").read_text()

    events = EventAccumulator(str(with_all / "logs/tensorboard" / run.name)).Reload()
    assert [str(event.step) for event in events.Scalars("train/accuracy")] == EPOCHS
    assert events.Tags()["tensors"] == ["params/text_summary"]

    (metric,) = (with_all / "logs/mlflow").glob("*/*/metrics/train/loss")
    assert [line.split()[2] for line in metric.read_text().splitlines()] == EPOCHS
    assert (metric.parents[2] / "params/train.lr").read_text() == "0.003"
    assert "end_time: null" not in (metric.parents[2] / "meta.yaml").read_text()

    (log,) = (with_all / "logs/wandb" / run.name).glob("wandb/offline-run-*/*.wandb")
    assert b"val/accuracy" in log.read_bytes()


def test_a_package_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formwork.training.recipe.find_spec", lambda name: None)
    check_loggers(["csv"])
    with pytest.raises(ParamsError, match=r"lists mlflow and wandb, which .* pip install 'formwork\[loggers\]'` or"):
        check_loggers(["csv", "mlflow", "wandb", "mlflow"])
