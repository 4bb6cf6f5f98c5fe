"""Steps cost less, and nothing else differs from Lightning's own."""

import os
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from formwork.folders import Folders
from formwork.loading.project import ProjectData
from formwork.loading.targets import targets_of
from formwork.params import Trainer
from formwork.training import fit
from formwork.training.datamodule import ImageDataModule
from formwork.training.fit import build_trainer
from formwork.training.lightning_overhead import LowOverheadModule, NoProfiler, reduce_step_overhead
from formwork.training.module import ImageModule
from tests.training.conftest import make_params


class Plain(pl.LightningModule):
    pass


class Lean(LowOverheadModule):
    pass


@pytest.mark.parametrize("first", [None, 1, "text", nn.Linear(1, 1), nn.Parameter(torch.zeros(1)), torch.zeros(1)])
@pytest.mark.parametrize("second", [None, 2, "other", nn.Linear(2, 2), nn.Parameter(torch.ones(1)), torch.ones(1)])
def test_attributes_end_up_where_torch_puts_them(first: object, second: object) -> None:
    places = []
    for module in (Plain(), Lean()):
        found = []
        for value in (first, second):
            try:
                module.attribute = value
            except TypeError as error:  # torch refuses a number in the place of a parameter
                found.append(str(error))
            kinds = (module.__dict__, module._parameters, module._modules, module._buffers)
            found.append([kind.get("attribute") for kind in kinds])
        places.append(found)

    plain, lean = places
    assert repr(lean) == repr(plain)


def test_a_buffer_that_is_set_to_none_stays_a_buffer() -> None:
    module = Lean()
    module.register_buffer("attribute", torch.zeros(1))
    module.attribute = None

    assert module._buffers == {"attribute": None}
    assert "attribute" not in module.__dict__


def test_the_trainer_profiles_nothing() -> None:
    trainer = build_trainer(Trainer(accelerator="cpu"), [])

    assert isinstance(trainer.profiler, NoProfiler)
    with pytest.raises(RuntimeError, match="passes"), trainer.profiler.profile("hook"):
        raise RuntimeError("passes")


def test_cuda_is_asked_for_cheaply_only_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = "PYTORCH_NVML_BASED_CUDA_CHECK"
    for available, expected in ((True, "1"), (False, "0")):
        monkeypatch.setenv(asked, "1")
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        reduce_step_overhead()
        assert os.environ[asked] == expected


class Calls(pl.Callback):
    """Records the hooks of a step, in their order; saves a checkpoint in the middle of the second epoch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[str] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.calls.append("batch start")

    def on_before_zero_grad(self, *_: Any) -> None:
        self.calls.append("before zero grad")

    def on_before_backward(self, *_: Any) -> None:
        self.calls.append("before backward")

    def on_after_backward(self, *_: Any) -> None:
        self.calls.append("after backward")

    def on_before_optimizer_step(self, *_: Any) -> None:
        self.calls.append("before step")

    def on_train_batch_end(self, trainer: pl.Trainer, _: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.calls.append(f"batch end {batch_idx} {trainer.global_step} {float(outputs['loss']):.6f} {len(batch[1])}")
        if trainer.current_epoch == 1 and batch_idx == 1:
            trainer.save_checkpoint(self.path)

    def on_validation_start(self, *_: Any) -> None:
        self.calls.append("validation")


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_our_loop_does_what_that_of_lightning_does(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    found = []
    for plain in (False, True):
        monkeypatch.setattr(fit, "PLAIN", plain)
        params = make_params(trainer={"max_epochs": 3, "precision": precision})
        fit.set_up_process(0)
        data = ProjectData(params, folders)
        module = ImageModule(
            params, data.settings, targets_of(data.splits["train"].manifest, data.settings.class_names)
        )
        calls = Calls(tmp_path / f"{plain}.ckpt")
        trainer = build_trainer(params.trainer, [calls])
        assert (type(trainer.fit_loop.epoch_loop).__name__ == "EpochLoop") is not plain
        trainer.fit(module, datamodule=ImageDataModule(data))
        middle = torch.load(calls.path, weights_only=True)
        found.append((calls.calls, middle, {name: value.clone() for name, value in module.state_dict().items()}))

    (calls, middle, end), (usual_calls, usual_middle, usual_end) = found
    assert calls == usual_calls
    torch.testing.assert_close(end, usual_end, rtol=0, atol=0)
    torch.testing.assert_close(middle["state_dict"], usual_middle["state_dict"], rtol=0, atol=0)
    assert middle["loops"] == usual_middle["loops"]
    for part in ("optimizer_states", "lr_schedulers"):
        assert repr(middle[part]) == repr(usual_middle[part])
