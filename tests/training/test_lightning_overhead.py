"""Steps cost less, and nothing else differs from Lightning's own."""

import os

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from formwork.params import Trainer
from formwork.training.fit import build_trainer
from formwork.training.lightning_overhead import LowOverheadModule, NoProfiler, reduce_step_overhead


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
