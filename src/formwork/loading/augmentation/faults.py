"""What went wrong in an operation, in one line."""

import traceback
from collections.abc import Mapping
from typing import Any

import torch

from formwork import own

PYTHONS = (TypeError, AttributeError, LookupError, NameError, ArithmeticError, AssertionError, NotImplementedError)
"""Errors whose words are about code, unless somebody raised them on purpose."""


class WrongResult(ValueError):
    """An operation did not fail, and what it gave cannot be used."""


def reason(error: Exception, arguments: Mapping[str, Any], size: int | None = None) -> str:
    """Why an operation failed, without a full stop: what it says itself, or the place in the user's own code.

    Args:
        size: side of the image that it failed on; None where it was not even made.
    """
    if isinstance(error, WrongResult):
        return str(error)
    said = str(error).strip().partition("\n")[0].rstrip(".")
    frames = traceback.extract_tb(error.__traceback__)
    on_purpose = bool(frames) and (frames[-1].line or "").startswith("raise")
    place = own.place(error)
    if place and not (on_purpose and isinstance(error, ValueError)):
        return f"{place}: {type(error).__name__}: {said}" if said else f"{place}: {type(error).__name__}"
    of_python = isinstance(error, PYTHONS) and not on_purpose
    words = "" if of_python or type(error).__module__.startswith("numba") else said
    if size is None and words:
        return words
    image = f" of {size} x {size} pixels" if size else ""
    given = f" with {dict(arguments)}" if arguments else ""
    return f"it cannot change an image{image}{given}{words and ': '}{words}"


def check_image(image: object, size: int) -> torch.Tensor:
    """What an operation gave.

    Raises:
        WrongResult: it is no tensor (3, size, size) of uint8.
    """
    if isinstance(image, list | tuple):
        raise WrongResult(f"it gives {len(image)} images in place of one")
    if type(image) is not torch.Tensor:
        raise WrongResult(f"it gives {type(image).__name__} in place of a tensor")
    if image.dtype != torch.uint8:
        raise WrongResult(
            f"it gives {str(image.dtype).removeprefix('torch.')} values, and a list works on 8-bit ones, which the "
            "loader normalises in the end"
        )
    if image.shape != (3, size, size):
        shape = " x ".join(map(str, image.shape[1:] if image.dim() == 3 and len(image) == 3 else image.shape))
        raise WrongResult(
            f"it makes {shape} of an image of {size} x {size} pixels; only the first operation of a list decides what "
            "is in the image, and none changes its size"
        )
    return image
