"""Whether what the sections `train` and `trainer` of params.yaml ask for fits together, tried before any work."""

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from torch import nn

from formwork.errors import ParamsError
from formwork.params import Params
from formwork.training.optimizers import build_optimizer, check_optimizer
from formwork.training.schedules import build_schedule


def check_recipe(network: nn.Module, params: Params) -> None:
    """Make the optimiser and its schedule for a network, which stays as it is.

    Raises:
        ParamsError: they cannot be made.
    """
    check_loggers(params.trainer.loggers)
    check_optimizer(params.train)
    build_schedule(build_optimizer(network, params.train), params.train, steps=10, steps_per_epoch=5)


def check_loggers(names: Sequence[str]) -> None:
    """Raises ParamsError: a package that a logger needs is not installed."""
    lacking = [name for name in dict.fromkeys(names) if name != "csv" and find_spec(name) is None]
    if lacking:
        raise ParamsError(
            f"trainer.loggers lists {' and '.join(lacking)}, which this Python ({sys.executable}) lacks. Run "
            f"`{sys.executable} -m pip install 'formwork[loggers]'` or `make setup`, or change the list.",
            "trainer.loggers",
        )


def check_limit(params: Params, images: int) -> None:
    """Raises ParamsError: trainer.limit_train_batches is a share of the training images that has no batch."""
    limit, batches = params.trainer.limit_train_batches, images // params.data.batch_size
    if isinstance(limit, float) and int(batches * limit) < 1:
        raise ParamsError(
            f"trainer.limit_train_batches {limit:g} of {batches} batches is less than one: set {1 / batches:.2g} or "
            "more, or a number of batches.",
            "trainer.limit_train_batches",
        )
