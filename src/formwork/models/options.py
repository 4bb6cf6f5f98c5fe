"""model.options: arguments of a function that makes a model, with a plain word on each mistake."""

import inspect
import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches

import torch
from torch import nn

from formwork.errors import ParamsError, did_you_mean
from formwork.params import Model

OWNED = {
    "weights": "model.weights",
    "pretrained": "model.weights",
    "checkpoint_path": "model.weights",
    "pretrained_cfg": "model.weights",
    "pretrained_cfg_overlay": "model.weights",
    "num_classes": "the dataset",
    "classes": "the dataset",
    "in_chans": "the images, which have 3 channels",
    "features_only": "the pipeline, which needs the outputs",
}
"""Arguments that are no options, and what decides them."""
MORE = {"MobileNetV3": ("dilated", "reduced_tail", "width_mult")}
"""By class of torchvision's, options that the function of a model takes, and its constructor does not name."""


def make(params: Model, function: Callable[..., nn.Module], resolution: int | None, **others: object) -> nn.Module:
    """function(**others, **params.options).

    Args:
        function: of a library.
        resolution: side of the images in pixels, for the words of an error, where it decides one of `others`.

    Raises:
        ParamsError: an option is unknown, not to be set, or does not suit.
    """
    refuse_owned(params)
    arguments = others | params.options
    try:
        model = function(**arguments)
    except Exception as error:  # whatever the constructor of a model raises
        raise ParamsError(_reason(params, error, lambda: function(**others), resolution), *_keys(params)) from error
    swallowed = set(params.options) - _named(type(model))
    if swallowed and _swallows(lambda **nonsense: function(**arguments, **nonsense)):
        raise unknown_option(params, min(swallowed), _named(type(model)))
    return model


def refuse_owned(params: Model) -> None:
    for option, owner in OWNED.items():
        if option in params.options:
            raise ParamsError(
                f"model.options.{option} cannot be set: that is decided by {owner}. Take it out.", "model.options"
            )


def unknown_option(params: Model, option: str, known: Iterable[str]) -> ParamsError:
    """The error, with the nearest option that there is."""
    known = sorted(set(known) - set(OWNED))
    near = did_you_mean(option, known) if known else "It has none."
    return ParamsError(
        f"model.options has {option!r}, which is no option of {params.name}. {near}", "model.options", "model.name"
    )


def near_name(name: str, known: Iterable[str]) -> str:
    """A sentence with the nearest of many names."""
    near = get_close_matches(name.lower(), list(known), n=1, cutoff=0.3)
    return f"Did you mean {near[0]!r}? " if near else ""


def without_weights(build: Callable[[], nn.Module]) -> nn.Module:
    """What `build` makes, to be looked at: without the memory and time of its weights where it can do without."""
    with torch.random.fork_rng(devices=[]):
        try:
            with torch.device("meta"):
                return build()
        except Exception:  # where a model computes with numbers that it has in tensors, as those of RegNet do
            return build()


def _reason(params: Model, error: Exception, plain: Callable[[], nn.Module], resolution: int | None) -> str:
    text = str(error).partition("\n")[0].rstrip(".")
    found = re.search(r"unexpected keyword argument '(\w+)'", text)
    if found and found[1] in params.options:
        return str(unknown_option(params, found[1], _named(type(without_weights(plain)))))
    found = re.search(r"got multiple values for (?:keyword )?argument '(\w+)'", text)
    if found and found[1] in params.options:
        return f"model.options.{found[1]} cannot be set: the name {params.name} decides it. Choose another model.name."
    size = f" for images of {resolution} x {resolution} pixels" if resolution else ""
    given = f" with model.options {params.options}" if params.options else ""
    return (
        f"model.name {params.name} cannot be made{size}{given}: {type(error).__name__}: {text}. Change these, "
        "or choose another model.name."
    )


def _keys(params: Model) -> list[str]:
    return ["model.options", "model.name"] if params.options else ["model.name"]


def _named(kind: type) -> set[str]:
    """Arguments with a default that the constructor of a class names, or of those that it passes others on to."""
    found = set(MORE.get(kind.__name__, ()))
    for parent in kind.__mro__:
        if "__init__" not in vars(parent):
            continue
        arguments = inspect.signature(vars(parent)["__init__"]).parameters.values()
        found |= {one.name for one in arguments if one.default is not one.empty}
        if not any(one.kind is one.VAR_KEYWORD for one in arguments):
            break
    return found


def _swallows(make: Callable[..., nn.Module]) -> bool:
    """Whether a function takes any argument, and so says nothing of one that it does not know."""
    try:
        without_weights(lambda: make(no_model_has_this_option=None))
    except Exception:  # it knows
        return False
    return True
