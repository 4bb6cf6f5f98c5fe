"""torch.compile of the network, and what is said where it fails."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from formwork.errors import ParamsError
from formwork.params import Trainer


def compile_network(network: nn.Module, params: Trainer) -> None:
    """Let a network compile itself in its first call, if trainer.compile says so. Its state_dict stays as it is.

    That is Module.compile, but for the function around the call: where the call is one of torch's own, as that of a
    Sequential, torch.compile would leave it as it is.
    """

    def call(*arguments: Any) -> Any:
        return network._call_impl(*arguments)

    if params.compile:
        network._compiled_call_impl = torch.compile(call, **_options(params))


def check_compile(params: Trainer) -> None:
    """Compile a small function, if trainer.compile says so.

    Raises:
        ParamsError: nothing can be compiled here.
    """
    if not params.compile:
        return
    device = torch.accelerator.current_accelerator() if params.accelerator != "cpu" else None
    with explained(params), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch, of itself
        torch.compile(_small, **_options(params))(torch.zeros(2, device=device or "cpu"))


@contextmanager
def explained(params: Trainer) -> Iterator[None]:
    """`with explained(params):` around what compiles: raises a ParamsError where that fails."""
    try:
        yield
    except RuntimeError as error:
        if not params.compile:
            raise
        from torch._dynamo.exc import TorchDynamoException  # here, as the import takes a second

        if not isinstance(error, TorchDynamoException):
            raise
        reason = str(error).partition("\n")[0].rstrip(".")
        compiler = "Install one (Debian: `apt-get install g++`)" if "Compiler" in reason else "Try another mode"
        raise ParamsError(
            f"trainer.compile: torch.compile fails: {reason}. {compiler}, or set trainer.compile: false.",
            "trainer.compile",
        ) from error


def _options(params: Trainer) -> dict[str, Any]:
    return {} if params.compile is True else {"mode": params.compile}


def _small(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1
