"""The user's models: own/<function>, a function f(classes, **options) of src/own/models.py."""

import inspect

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from formwork import own
from formwork.errors import ParamsError
from formwork.models.options import refuse_owned, unknown_option
from formwork.models.presentation import is_recurrent
from formwork.params import Model


def build(params: Model, outputs: int, resolution: int) -> nn.Module:
    """See models.build.build_model.

    Raises:
        ParamsError: the function is not there, does not take the options, fails, or gives no module.
    """
    function = own.model(params.variant)
    refuse_owned(params)
    where = f"{params.variant} in {own.folder()}/models.py"
    arguments = inspect.signature(function).parameters.values()
    takes_any = any(one.kind is one.VAR_KEYWORD for one in arguments)
    known = [one.name for one in arguments if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)][1:]
    for option in params.options:
        if option not in known and not takes_any:
            raise unknown_option(params, option, known)
    try:
        inspect.signature(function).bind(outputs, **params.options)
    except TypeError as error:
        raise ParamsError(
            f"{where} cannot be called as {params.variant}(classes, **model.options): {error}. Set it in "
            "model.options, or change the function.",
            "model.options",
            "model.name",
        ) from error
    try:
        model = function(outputs, **params.options)
        if isinstance(model, nn.Module):
            _initialise(model, resolution)
    except Exception as error:  # whatever the code raises
        place = own.place(error) or where
        raise ParamsError(
            f"{place}: {type(error).__name__}: {error}. So model.name {params.name} cannot be made.",
            "model.name",
            "model.options",
        ) from error
    if not isinstance(model, nn.Module):
        raise ParamsError(f"{where} must return a torch.nn.Module, and returns {model!r}.", "model.name")
    return model


def _initialise(model: nn.Module, resolution: int) -> None:
    """Give lazy layers, such as LazyLinear, their parameters, by showing them an image."""
    if any(is_lazy(one) for one in (*model.parameters(), *model.buffers())):
        images = torch.zeros(1, 3, resolution, resolution)
        with torch.no_grad():
            model.eval()(images.unsqueeze(1) if is_recurrent(model) else images)
        model.train()
