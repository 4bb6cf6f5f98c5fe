"""The augmentation lists of params.yaml: which list a split has, and whether it can be used."""

from formwork.errors import AugmentationError
from formwork.loading.augmentation import NATIVE
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.mixup import MixOperation
from formwork.loading.augmentation.python import PythonOperation
from formwork.loading.augmentation.views import Views
from formwork.params import Operations, Params

STAND_INS = (32, 224)
"""Sides on which lists are tried before `resolution: auto` is known."""


def views_of(params: Params, split: str, operations: Operations | None, resolution: int) -> Views:
    """What is made of each image of a split: by its list, or by those of augment.views, tried on images of every size
    that it gets.

    Args:
        operations: of the list `split`, train or val; None only where augment.views has the lists.

    Raises:
        AugmentationError: it cannot be used; the message begins with the key of the list.
    """
    schedule = params.ffcv.resolution_schedule or [] if split == "train" else []
    others = [side for _, side in schedule]
    views = params.augment.views if split == "train" else 1
    if isinstance(views, list):
        made: list[Augmentation] = []
        for number, view in enumerate(views, start=1):
            key, side = f"augment.views[{number}]", view.resolution or resolution
            made += [Augmentation(view.operations, side, params.seed, key, others)] * view.times
        return Views(tuple(made))
    assert operations is not None
    key = f"augment.{split}"
    if getattr(params.augment, split) is None:
        key = f"datasets.{params.data.name}.{key}"
    augmentation = Augmentation(operations, resolution, params.seed, key, others)
    if split != "train" and augmentation.mixing:
        name = next(iter(augmentation.mixing.operations))
        raise AugmentationError(f"{key}: {name} is for training alone. Remove it from the list.")
    return Views((augmentation,) * views)


def mixes(params: Params) -> bool:
    """Whether training images are mixed, by the list of params.yaml, which need not be sound."""
    views = params.augment.views
    operations = views[0].operations if isinstance(views, list) else _operations(params, "train")
    made = (NATIVE.get(name) for entry in operations or [] for name in entry)
    return any(isinstance(one, type) and issubclass(one, MixOperation) for one in made)


def check_augmentation(params: Params) -> list[str]:
    """Try the lists of the dataset `data.name`, with nothing but params.yaml.

    Where the resolution is `auto`, a list is refused that works with none of STAND_INS.

    Returns:
        A line on each operation that is in Python: how long it takes.

    Raises:
        AugmentationError: a list cannot be used.
    """
    dataset, lines = params.dataset, []
    resolutions = STAND_INS if dataset.resolution == "auto" else (dataset.resolution,)
    for split in ("train", "val"):
        operations = _operations(params, split)
        if operations is None and (split == "val" or isinstance(params.augment.views, int)):
            continue  # the default, which depends on the resolution
        for resolution in resolutions:
            try:
                views = views_of(params, split, operations, resolution)
                break
            except AugmentationError:
                if resolution == resolutions[-1]:
                    raise
        for augmentation in dict.fromkeys(views):
            lines += _costs_in_python(augmentation)
    return lines


def _operations(params: Params, split: str) -> Operations | None:
    """The list of params.yaml for a split, that of the project before that of the dataset."""
    of_project: Operations | None = getattr(params.augment, split)
    return of_project if of_project is not None else getattr(params.dataset.augment, split)


def _costs_in_python(augmentation: Augmentation) -> list[str]:
    side = augmentation.resolution
    return [
        f"{augmentation.key}: {name} is carried out in Python: {1000 * operation.seconds(side):.3g} ms an image of "
        f"{side} x {side} pixels, in each of data.num_workers processes."
        for name, operation in augmentation.steps
        if isinstance(operation, PythonOperation)
    ]
