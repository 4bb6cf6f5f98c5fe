"""The optimiser: any of torch.optim, and which weights it changes by how much."""

import inspect
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from formwork.errors import ParamsError, did_you_mean
from formwork.params import Train

Kind = Callable[..., Optimizer]  # a class, whose arguments differ

REFUSED = {
    "LBFGS": "it computes the loss of a batch several times a step",
    "Muon": "torch has it for matrices alone, and models have norms, biases and convolutions, too",
    "SparseAdam": "it is for sparse gradients, which no model here has",
}
ELSEWHERE = {
    "lr": "It is train.lr",
    "weight_decay": "It is train.weight_decay",
    "params": "Which weights are trained is said by model.freeze, and how much by train.lr_scale",
    "maximize": "A loss is to become small",
    "capturable": "It is for CUDA graphs, which are not used here",
    "differentiable": "It is for derivatives of the training itself, which are not used here",
}
"""Arguments of optimisers that train.optimizer_options does not take."""


def build_optimizer(network: nn.Module, params: Train) -> Optimizer:
    """The optimiser of train.optimizer, with a group of weights for each learning rate and weight decay.

    Weights that need no gradient are in none. Parameters of one dimension or none, which norms and biases are, have no
    weight decay unless train.decay_norms_and_biases says so.

    Raises:
        ParamsError: a pattern of train.lr_scale matches nothing; or see check_optimizer.
    """
    kind, options = _checked(params)
    trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
    if not trained:
        raise ParamsError("No weight of the model is trained: model.freeze leaves none.", "model.freeze")
    factors = _factors(network, trained, params.lr_scale)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, weight in trained.items():
        decays = params.decay_norms_and_biases or weight.dim() > 1
        groups.setdefault((factors[name], params.weight_decay if decays else 0.0), []).append(weight)
    return kind(
        [
            {"params": weights, "lr": params.lr * factor, **_decay(kind, decay)}
            for (factor, decay), weights in groups.items()
        ],
        lr=params.lr,
        **options,
    )


def check_optimizer(params: Train) -> None:
    """Make a step with a weight of zeros, as torch finds some wrong values then only.

    Raises:
        ParamsError: train.optimizer is unknown, or its options are, or their values.
    """
    kind, options = _checked(params)
    weight = nn.Parameter(torch.zeros(2, 2))
    weight.grad = torch.zeros(2, 2)
    try:
        kind([weight], lr=params.lr, **_decay(kind, params.weight_decay), **options).step()
    except Exception as error:  # whatever the classes of torch.optim raise
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ParamsError(
            f"train.optimizer {params.optimizer} refuses its options in params.yaml: {reason}. Change "
            "train.optimizer_options.",
            "train.optimizer_options",
        ) from error


def _checked(params: Train) -> tuple[Kind, dict[str, Any]]:
    """The class and its options, with lists as the tuples that they stand for."""
    name = params.optimizer
    known = optimizers()
    if name in REFUSED:
        raise ParamsError(f"train.optimizer {name} cannot be used: {REFUSED[name]}.", "train.optimizer")
    if name not in known:
        right = {other.lower(): other for other in known}.get(name.lower())
        near = f"Did you mean {right!r}?" if right else did_you_mean(name, known)
        raise ParamsError(
            f"train.optimizer {name} is unknown: torch.optim has no such class. {near}", "train.optimizer"
        )
    kind = known[name]
    arguments = dict(inspect.signature(kind).parameters)
    if params.weight_decay and "weight_decay" not in arguments:
        raise ParamsError(
            f"train.optimizer {name} has no weight decay: set train.weight_decay: 0.", "train.weight_decay"
        )
    return kind, {
        option: _value(f"train.optimizer_options.{option}", value, _argument(name, arguments, option))
        for option, value in params.optimizer_options.items()
    }


def optimizers() -> dict[str, Kind]:
    """Those of torch.optim that a training can use, by name."""
    return {
        name: kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer and name not in REFUSED
    }


def _argument(optimizer: str, arguments: dict[str, inspect.Parameter], option: str) -> inspect.Parameter:
    if option in ELSEWHERE:
        raise ParamsError(
            f"train.optimizer_options.{option} cannot be set. {ELSEWHERE[option]}.", "train.optimizer_options"
        )
    if option not in arguments:
        near = did_you_mean(option, arguments.keys() - ELSEWHERE.keys())
        raise ParamsError(
            f"train.optimizer_options.{option} is unknown: {optimizer} has no such option. {near}",
            "train.optimizer_options",
        )
    return arguments[option]


def _value(key: str, value: Any, argument: inspect.Parameter) -> Any:
    """`value` in the type of the argument, as far as its default and its annotation tell it."""
    default = argument.default
    if isinstance(default, tuple):
        fits, wanted = isinstance(value, list) and len(value) == len(default), f"a list of {len(default)} numbers"
        value = tuple(value) if fits else value
    elif isinstance(default, bool):
        fits, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int | float):
        fits, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif "bool" in str(argument.annotation):
        fits, wanted = value is None or isinstance(value, bool), "true, false or null"
    else:
        fits, wanted = True, ""
    if not fits:
        raise ParamsError(f"{key} is {value!r}, and must be {wanted}.", "train.optimizer_options")
    return value


def _decay(kind: Kind, value: float) -> dict[str, Any]:
    return {"weight_decay": value} if "weight_decay" in inspect.signature(kind).parameters else {}


def _factors(network: nn.Module, trained: Iterable[str], scale: dict[str, float]) -> dict[str, float]:
    """By name of each weight that is trained, the factor of its learning rate."""
    factors = dict.fromkeys(trained, 1.0)
    for pattern, factor in scale.items():
        matching = [name for name in factors if _matches(name, pattern)]
        factors.update(dict.fromkeys(matching, factor))
        if matching:
            continue
        if any(_matches(name, pattern) for name, _ in network.named_parameters()):
            reason = "matches weights alone that model.freeze leaves as they are."
        else:
            reason = f"matches no weight of the model. {did_you_mean(pattern, _modules(network, pattern))}"
        raise ParamsError(f"train.lr_scale: {pattern!r} {reason}", "train.lr_scale")
    return factors


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern names this weight, or a module that it is in."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def _modules(network: nn.Module, pattern: str) -> list[str]:
    """Names of modules as deep as the pattern is, that have weights."""
    depth = pattern.count(".") + 1
    return list({".".join(name.split(".")[:depth]): None for name, _ in network.named_parameters()})
