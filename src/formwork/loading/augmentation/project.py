"""The augmentation lists of params.yaml: which list a split has, and whether it can be used."""

from formwork.errors import AugmentationError
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.params import Operations, Params

STAND_INS = (32, 224)
"""Sides on which lists are tried before `resolution: auto` is known."""


def augmentation_of(params: Params, split: str, operations: Operations, resolution: int) -> Augmentation:
    """The augmentation of a split: its list, tried on images of every size that it gets.

    Raises:
        AugmentationError: it cannot be used; the message begins with the key of the list.
    """
    key = f"augment.{split}"
    if getattr(params.augment, split) is None:
        key = f"datasets.{params.data.name}.{key}"
    schedule = params.ffcv.resolution_schedule or [] if split == "train" else []
    augmentation = Augmentation(operations, resolution, params.seed, key, [side for _, side in schedule])
    if split != "train" and augmentation.mixing:
        name = next(iter(augmentation.mixing.operations))
        raise AugmentationError(f"{key}: {name} is for training alone. Remove it from the list.")
    return augmentation


def check_augmentation(params: Params) -> None:
    """Try the lists of the dataset `data.name`, with nothing but params.yaml.

    Where the resolution is `auto`, a list is refused that works with none of STAND_INS.

    Raises:
        AugmentationError: a list cannot be used.
    """
    dataset = params.dataset
    resolutions = STAND_INS if dataset.resolution == "auto" else (dataset.resolution,)
    for split, own_list in params.augment:
        operations = own_list if own_list is not None else getattr(dataset.augment, split)
        if operations is None:
            continue  # the default, which depends on the resolution
        for resolution in resolutions:
            try:
                augmentation_of(params, split, operations, resolution)
                break
            except AugmentationError:
                if resolution == resolutions[-1]:
                    raise
