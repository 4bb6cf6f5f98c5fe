"""What params.yaml asks of a training is what a loop of plain PyTorch does, written out here, to the last bit."""

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from formwork.errors import ParamsError
from formwork.folders import Folders
from formwork.loading.project import ProjectData
from formwork.models.build import build_model
from formwork.training import fit
from tests.training import forked
from tests.training.conftest import make_params

pytestmark = pytest.mark.slow

EPOCHS, BATCHES = 2, 3  # batches of an epoch
LR = 0.01
TRAINER = {"max_epochs": EPOCHS, "monitor": "train/loss"}  # whose last epoch is the best


@dataclass
class Recipe:
    """One that params.yaml says, and the same said again in torch's words.

    Attributes:
        train, trainer: keys of these sections.
        optimizer: a function of (N, 2) names and weights.
        schedule: makes torch's own, or gives the factor of the learning rate in a step from the number of steps before
            it; of that, or the optimizer, and the number of all steps.
        batches: of an epoch. accumulate: of them for each step.
        clip: changes the gradients of a step.
    """

    train: dict[str, Any]
    optimizer: Callable[[list[tuple[str, nn.Parameter]]], torch.optim.Optimizer]
    schedule: Callable[[Any, int], Any]
    trainer: dict[str, Any] = field(default_factory=dict)
    batches: int = BATCHES
    accumulate: int = 1
    clip: Callable[[list[nn.Parameter]], None] = lambda weights: None
    ema: float | None = None


def decayed(named: list[tuple[str, nn.Parameter]], decay: float) -> list[dict[str, Any]]:
    """Groups of weights with weight decay and without."""
    weights = [weight for _, weight in named]
    large, small = [w for w in weights if w.dim() > 1], [w for w in weights if w.dim() <= 1]
    return [{"params": large, "weight_decay": decay}, {"params": small, "weight_decay": 0.0}]


def clip_norm(weights: list[nn.Parameter]) -> None:
    assert nn.utils.clip_grad_norm_(weights, 0.1) > 0.2


def clip_value(weights: list[nn.Parameter]) -> None:
    assert max(float(weight.grad.abs().max()) for weight in weights) > 0.01
    nn.utils.clip_grad_value_(weights, 0.005)


def cosine_after_warmup(k: int, steps: int) -> float:
    return (k + 1) / 3 if k < 2 else 0.1 + 0.9 * (1 + math.cos(math.pi * (k - 2) / (steps - 2))) / 2


RECIPES = {
    "sgd_cosine": Recipe(
        {
            "optimizer": "SGD",
            "weight_decay": 0.1,
            "optimizer_options": {"momentum": 0.9, "nesterov": True},
            "schedule": "cosine",
            "schedule_options": {"end_factor": 0.1},
            "warmup_epochs": 0.75,
        },
        lambda named: torch.optim.SGD(decayed(named, 0.1), lr=LR, momentum=0.9, nesterov=True),
        cosine_after_warmup,
    ),
    "accumulated_and_clipped": Recipe(
        {"optimizer": "NAdam", "optimizer_options": {"betas": [0.8, 0.9]}, "schedule": "linear"},
        lambda named: torch.optim.NAdam(decayed(named, 0.01), lr=LR, betas=(0.8, 0.9)),
        lambda k, steps: 1 - k / steps,
        {"accumulate_grad_batches": 2, "gradient_clip_val": 0.1},
        accumulate=2,
        clip=clip_norm,
    ),
    "scaled_steps": Recipe(
        {
            "optimizer": "RMSprop",
            "weight_decay": 0.2,
            "decay_norms_and_biases": True,
            "lr_scale": {"*.bias": 0.5, "11": 0.1},
            "schedule": "step",
            "schedule_options": {"milestones": [0.5, 1], "gamma": 0.5},
        },
        lambda named: torch.optim.RMSprop(
            [
                {"params": [w], "lr": LR * (0.1 if name.startswith("11.") else 0.5 if name.endswith(".bias") else 1)}
                for name, w in named
            ],
            lr=LR,
            weight_decay=0.2,
        ),
        lambda k, steps: 0.5 ** sum(k >= milestone for milestone in (1, 2)),
        {"limit_train_batches": 2, "gradient_clip_val": 0.005, "gradient_clip_algorithm": "value"},
        batches=2,
        clip=clip_value,
    ),
    "constant": Recipe(
        {"optimizer": "Adam", "schedule": "constant", "warmup_epochs": 1, "label_smoothing": 0.2, "ema": 0.3},
        lambda named: torch.optim.Adam(decayed(named, 0.01), lr=LR),
        lambda k, steps: min((k + 1) / 2, 1.0),
        {"accumulate_grad_batches": 2, "limit_train_batches": 0.99},
        batches=2,
        accumulate=2,
        ema=0.3,
    ),
    "one_cycle": Recipe(
        {"ema": 0.15, "schedule_options": {"pct_start": 0.5, "div_factor": 10}},
        lambda named: torch.optim.AdamW(decayed(named, 0.01), lr=LR),
        lambda optimizer, steps: OneCycleLR(optimizer, LR, total_steps=steps, pct_start=0.5, div_factor=10),
        ema=0.15,
    ),
}


def plain_loop(recipe: Recipe, params: Any, folders: Folders) -> dict[str, Tensor]:
    """The weights at the end, or their average."""
    data = ProjectData(params, folders)
    pl.seed_everything(params.seed, verbose=False)
    network = build_model(params.model, 3, data.settings.resolution).to(memory_format=torch.channels_last)
    optimizer = recipe.optimizer(list(network.named_parameters()))
    peaks = [group["lr"] for group in optimizer.param_groups]
    per_epoch = -(-recipe.batches // recipe.accumulate)
    loader, steps, all_steps = data.loader("train"), 0, EPOCHS * per_epoch
    one_cycle = recipe.schedule(optimizer, all_steps) if recipe.train.get("schedule") is None else None
    average = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(EPOCHS):
        network.train()
        batches = [batch for number, batch in enumerate(loader) if number < recipe.batches]
        for start in range(0, recipe.batches, recipe.accumulate):
            together = batches[start : start + recipe.accumulate]
            optimizer.zero_grad()
            for images, targets in together:
                outputs = network(images)
                smoothing = recipe.train.get("label_smoothing", 0.0)
                (functional.cross_entropy(outputs, targets, label_smoothing=smoothing) / len(together)).backward()
            recipe.clip(list(network.parameters()))
            if one_cycle is None:
                for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                    group["lr"] = peak * recipe.schedule(steps, all_steps)
            optimizer.step()
            if one_cycle is not None:
                one_cycle.step()
            decay = 0.0 if recipe.ema is None else min(recipe.ema, (1 + steps) / (10 + steps))
            for name, value in network.state_dict().items():
                floats = value.is_floating_point()
                average[name] = (decay * average[name] + (1 - decay) * value) if floats else value.clone()
            steps += 1
    assert steps == all_steps
    return average


@pytest.mark.parametrize("name", RECIPES)
def test_it_is_what_plain_pytorch_does(run, folders: Folders, name: str) -> None:
    recipe = RECIPES[name]
    sections = {"train": {"lr": LR} | recipe.train, "trainer": TRAINER | recipe.trainer}
    out = run("out", **sections)
    saved = torch.load(out / "best.pt", weights_only=True)
    expected = plain_loop(recipe, make_params(**sections), folders)
    assert saved["epoch"] == EPOCHS
    assert saved["weights"].keys() == expected.keys()
    for key, value in saved["weights"].items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-7)


def test_a_compiled_network_trains_the_same_model(project: Path, tmp_path: Path) -> None:
    """With torch.compile but for the last part of it, which takes a minute: what it captures, PyTorch runs as ever."""

    def compile_quickly() -> None:
        torch.compile = partial(torch.compile, backend="eager")  # type: ignore[assignment]
        save = fit.save_model

        def save_and_count(*arguments: Any) -> None:
            Path("graphs").write_text(str(torch._dynamo.utils.counters["stats"]["unique_graphs"]))
            save(*arguments)

        fit.save_model = save_and_count

    models = []
    for compiled in (False, True):
        workspace = Path(shutil.copytree(project, tmp_path / str(compiled), symlinks=True))
        sections = {"train": {"ema": 0.5}, "trainer": TRAINER | {"compile": compiled, "accelerator": "cpu"}}
        status, output = forked.finish(
            *forked.start(workspace, compile_quickly if compiled else lambda: None, **sections)
        )
        assert status == 0, output
        models.append((workspace / "models/best.pt").read_bytes())
    assert models[0] == models[1]
    assert int((workspace / "graphs").read_text()) >= 4  # in training, in the validation before it, of the average


def test_a_share_of_batches_that_is_none_is_refused(run) -> None:
    with pytest.raises(ParamsError, match=r"limit_train_batches 0\.3 of 3 batches is less than one: set 0\.33 or more"):
        run("out", trainer={"limit_train_batches": 0.3})


def test_batch_norm_over_processes_needs_gpus() -> None:
    trainer = make_params(
        trainer={"devices": 2, "sync_batchnorm": True, "accelerator": "cpu"}, ffcv={"distributed": True}
    ).trainer
    with pytest.raises(ParamsError, match=r"trainer\.sync_batchnorm needs GPUs: set it to false"):
        fit.build_trainer(trainer, [])
