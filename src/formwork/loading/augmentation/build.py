"""From an entry of an augmentation list to its operation."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from formwork import own
from formwork.errors import AugmentationError, did_you_mean
from formwork.loading.augmentation import NATIVE
from formwork.loading.augmentation.arguments import bind
from formwork.loading.augmentation.faults import reason

PREFIX = "ffcv."
"""Prefix of the names of FFCV's own operations."""

_BY_THE_LOADER = "the loader does that itself, after the list: see data.dtype, and mean and std in datasets.<name>"
REFUSED = {
    "Normalize": _BY_THE_LOADER,
    "ConvertImageDtype": _BY_THE_LOADER,
    "ToDtype": _BY_THE_LOADER,
    "ToTensor": _BY_THE_LOADER,
    "PILToTensor": _BY_THE_LOADER,
    "ToImage": _BY_THE_LOADER,
    "ToPureTensor": _BY_THE_LOADER,
    "ToPILImage": "the loader works on tensors. Remove it from the list",
    "MixUp": "it mixes a whole batch. Use Mixup, as the last of the list",
    "Compose": "a list in params.yaml takes its operations as entries of their own",
}
"""Classes of torchvision.transforms.v2 that have no place in a list, and what has."""


def build(name: str, arguments: dict[str, Any] | None, key: str) -> Any:
    """The operation of one entry: of NATIVE, of FFCV, of src/own (a class, or a function that takes an image first), or
    a class of torchvision.transforms.v2.

    Args:
        key: where the list stands in params.yaml.

    Raises:
        AugmentationError: it is unknown, or has wrong arguments.
    """
    arguments = arguments or {}
    try:
        if name.startswith(PREFIX):
            from formwork.loading.ffcv.operations import FFCVOperation  # here, because it needs ffcv

            return FFCVOperation(name.removeprefix(PREFIX), arguments)
        known = NATIVE.get(name) or own.operations().get(name)
        if inspect.isfunction(known):
            return partial(known, **bind(partial(known, None), arguments, typed=False))
        found = known or _from_torchvision(name, key)
        return found(**bind(found, arguments, typed=known is None))
    except AugmentationError:
        raise
    except Exception as error:  # whatever torchvision, FFCV and the user's own code raise
        raise AugmentationError(f"{key}: {name}: {reason(error, arguments)}.") from error


def _from_torchvision(name: str, key: str) -> Callable[..., Any]:
    from torchvision.transforms import v2  # here, because it takes seconds and most lists do not need it

    if refused := next((one for one in REFUSED if one.lower() == name.lower()), None):
        raise AugmentationError(f"{key}: {name}: {REFUSED[refused]}.")
    classes = {n: c for n, c in vars(v2).items() if inspect.isclass(c) and issubclass(c, v2.Transform)}
    found = {n: c for n, c in classes.items() if c is not v2.Transform}
    if name not in found:
        known = set(NATIVE) | set(own.operations()) | (set(found) - set(REFUSED))
        raise AugmentationError(f"{key}: there is no operation {name!r}. {did_you_mean(name, known)}")
    return found[name]
