"""Recipes that cannot be are refused before any work, in words that name the key and the nearest that can."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from formwork.errors import ParamsError
from formwork.models.build import build_model
from formwork.params import Trainer
from formwork.tasks import TASKS
from formwork.training.callbacks import logged
from formwork.training.compilation import explained
from formwork.training.optimizers import build_optimizer, optimizers
from formwork.training.recipe import check_recipe
from formwork.training.schedules import factor_of
from tests.training.conftest import make_params

SGD = {"optimizer": "SGD"}


def check(**sections: dict[str, Any]) -> None:
    params = make_params(**sections)
    check_recipe(build_model(params.model, 3, 12), params)


@pytest.mark.parametrize("name", sorted(optimizers()))
def test_every_optimizer_of_torch_can_be_had(name: str) -> None:
    for schedule in ("one_cycle", "cosine"):
        check(train={"optimizer": name, "weight_decay": 0.1 if name != "Rprop" else 0, "schedule": schedule})


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ({"optimizer": "adamw"}, "adamw is unknown: torch.optim has no such class. Did you mean 'AdamW'?"),
        ({"optimizer": "SDG"}, "Did you mean 'SGD'?"),
        ({"optimizer": "Optimizer"}, "train.optimizer Optimizer is unknown"),
        ({"optimizer": "LBFGS"}, "LBFGS cannot be used: it computes the loss of a batch several times a step."),
        ({"optimizer": "Rprop"}, "Rprop has no weight decay: set train.weight_decay: 0."),
        ({**SGD, "optimizer_options": {"momentun": 1}}, "SGD has no such option. Did you mean 'momentum'?"),
        ({"optimizer_options": {"momentum": 0.9}}, "momentum is unknown: AdamW has no such option."),
        ({"optimizer_options": {"lr": 0.9}}, "optimizer_options.lr cannot be set. It is train.lr."),
        ({"optimizer_options": {"capturable": True}}, "capturable cannot be set. It is for CUDA graphs"),
        ({"optimizer_options": {"maximize": True}}, "maximize cannot be set. A loss is to become small."),
        ({"optimizer_options": {"fused": "maybe"}}, "fused is 'maybe', and must be true, false or null."),
        ({"optimizer_options": {"betas": 0.9}}, "betas is 0.9, and must be a list of 2 numbers."),
        ({"optimizer_options": {"betas": [0.9, 1.5]}}, "refuses its options in params.yaml: Invalid beta parameter"),
        ({"optimizer_options": {"amsgrad": "no"}}, "amsgrad is 'no', and must be true or false."),
        ({**SGD, "optimizer_options": {"momentum": True}}, "momentum is True, and must be a number."),
        ({**SGD, "optimizer_options": {"momentum": -1}}, "Invalid momentum value: -1"),
        ({**SGD, "optimizer_options": {"nesterov": True}}, "Nesterov momentum requires a momentum"),
        ({"lr_scale": {"12": 0.1}}, "train.lr_scale: '12' matches no weight of the model. Did you mean"),
        ({"lr_scale": {"*.wieght": 0.1}}, "'*.wieght' matches no weight of the model."),
        ({"optimizer": "Adagrad", "schedule_options": {"cycle_momentum": True}}, "Adagrad has no momentum that"),
    ],
)
def test_what_torch_must_say(train: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=re.escape(message)):
        check(train=train)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"train": {"schedule": "cosin"}}, "'cosine'"),
        ({"train": {"schedule": "step"}}, "step needs milestones, as in {milestones: [30, 60]}"),
        ({"train": {"schedule": "step", "schedule_options": {"milestones": [3, 3]}}}, "milestones: must increase"),
        ({"train": {"schedule": "step", "schedule_options": {"milestones": 3}}}, "milestones: input should be a"),
        ({"train": {"schedule_options": {"pct_strat": 0.1}}}, "no option 'pct_strat'. Did you mean 'pct_start'?"),
        ({"train": {"schedule_options": {"pct_start": 1}}}, "pct_start: input should be less than 1"),
        ({"train": {"schedule_options": {"three_phase": True, "pct_start": 0.6}}}, "pct_start is 0.6, and at most 0.5"),
        ({"train": {"schedule": "constant", "schedule_options": {"gamma": 1}}}, "no option 'gamma'. It has none."),
        ({"train": {"warmup_epochs": 1}}, "one_cycle rises by itself"),
        ({"train": {"warmup_epochs": 2, "schedule": "cosine"}}, "must be less than trainer.max_epochs, which is 2"),
        ({"train": {"optimizer_options": {"eps": float("nan")}}}, "numbers must be finite"),
        ({"train": {"lr_scale": {"a": 0}}}, "greater than 0"),
        ({"train": {"ema": 1}}, "less than 1"),
        ({"trainer": {"monitor": "val/acuracy"}}, "There is no such metric. Did you mean 'val/accuracy'?"),
        ({"trainer": {"monitor": "train/map"}}, "There is no such metric"),
        ({"trainer": {"limit_train_batches": 0}}, "greater than"),
        ({"trainer": {"limit_train_batches": 1.5}}, "less than or equal to 1"),
        ({"train": {"ema": 0.9}, "trainer": {"strategy": "fsdp"}}, "needs a process that has all weights"),
        (
            {
                "train": {"optimizer_options": {"fused": True}},
                "trainer": {"gradient_clip_val": 1, "precision": "16-mixed"},
            },
            "not for an optimiser with fused: true",
        ),
        ({"trainer": {"loggers": ["tensorbord"]}}, "'tensorboard'"),
    ],
)
def test_what_params_alone_can_say(sections: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        make_params(**sections)


def test_metrics_to_choose_by_are_those_that_are_logged() -> None:
    for task in TASKS:
        known = [name for name in {*logged(task), "val/nothing", "train/map"} if known_to(task.name, name)]
        assert sorted(known) == sorted(logged(task))


def known_to(task: str, monitor: str) -> bool:
    return Trainer(monitor=monitor).unknown_monitor(task) is None


def test_a_metric_of_another_task_is_refused_once_the_task_is_known() -> None:
    params = make_params(trainer={"monitor": "val/map"})
    assert params.unsuitable("multilabel") is None
    message = "Of the task classes there is no such metric. Known: train/accuracy, train/loss, val/accuracy, val/loss."
    assert params.unsuitable("classes") == f"trainer.monitor is val/map. {message}"


def test_numbers_that_another_program_wrote_as_text_are_numbers() -> None:
    check(train={"optimizer_options": {"eps": "1e-6", "betas": ["0.8", 0.9]}, "lr": "1e-2"})


def test_groups_have_their_learning_rate_and_decay_and_frozen_weights_are_in_none() -> None:
    params = make_params(train={"lr": 0.1, "lr_scale": {"1?": 0.5, "*.bias": 2}})
    network = build_model(params.model, 3, 12)
    network[0].requires_grad_(False)
    names = {weight: name for name, weight in network.named_parameters()}
    groups = build_optimizer(network, params.train).param_groups
    found = {(group["lr"], group["weight_decay"]): [names[weight] for weight in group["params"]] for group in groups}
    assert found == {
        (0.1, 0.0): ["1.weight", "4.weight", "7.weight"],
        (0.2, 0.0): ["1.bias", "4.bias", "7.bias", "11.bias"],
        (0.1, 0.01): ["3.weight", "6.weight"],
        (0.05, 0.01): ["11.weight"],
    }
    with pytest.raises(ParamsError, match=r"'0' matches weights alone that model\.freeze leaves as they are"):
        build_optimizer(network, make_params(train={"lr_scale": {"0": 0.5}}).train)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ({"schedule": "cosine"}, [1, 0.75, 0.25]),
        ({"schedule": "linear", "schedule_options": {"end_factor": 0.5}, "warmup_epochs": 1}, [1 / 3, 2 / 3, 1, 0.75]),
        ({"schedule": "step", "schedule_options": {"milestones": [0.5, 1.5, 9]}}, [1, 0.1, 0.1, 0.01]),
        ({"schedule": "constant", "warmup_epochs": 0.5}, [0.5, 1, 1]),
    ],
)
def test_factors_of_the_learning_rate(train: dict[str, Any], expected: list[float]) -> None:
    """Of two epochs of two steps, or of three steps for the first row."""
    steps = 3 if train == {"schedule": "cosine"} else 4
    factor = factor_of(make_params(train=train).train, steps, 2)
    assert [factor(k) for k in range(len(expected))] == pytest.approx(expected)


def test_one_cycle_whose_rise_takes_no_step() -> None:
    check(train={"schedule_options": {"pct_start": 0.1}})  # of the ten steps that are tried


def test_a_compiler_that_is_missing_is_told() -> None:
    from torch._dynamo.exc import TorchDynamoException

    trainer = make_params(trainer={"compile": True}).trainer
    message = r"trainer\.compile: torch\.compile fails: InvalidCxxCompiler: No compiler found\. Install one .*apt-get"
    with pytest.raises(ParamsError, match=message), explained(trainer):
        raise TorchDynamoException("InvalidCxxCompiler: No compiler found\n\nSet TORCH_LOGS")
    with pytest.raises(RuntimeError, match="other"), explained(trainer):
        raise RuntimeError("other")
