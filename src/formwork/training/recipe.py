"""Whether what the sections `train` and `trainer` of params.yaml ask for fits together, tried before any work."""

from torch import nn

from formwork.params import Params
from formwork.training.optimizers import build_optimizer, check_optimizer
from formwork.training.schedules import build_schedule


def check_recipe(network: nn.Module, params: Params) -> None:
    """Make the optimiser and its schedule for a network, which stays as it is.

    Raises:
        ParamsError: they cannot be made.
    """
    check_optimizer(params.train)
    build_schedule(build_optimizer(network, params.train), params.train, steps=10, steps_per_epoch=5)
