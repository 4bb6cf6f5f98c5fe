"""A loss of the user's own: a network of src/own/models.py that has a method `training_loss`.

    def training_loss(self, images, targets): -> loss, outputs

images, targets: of a training batch, normalised, see formwork.loading.base.Batch; (B, n, 3, H, W) with n views of each
image. Classes that Mixup or CutMix mixes are shares (B, K) float32. loss: a tensor of one number. outputs: (B, K), the
answers to the B images, by which training is measured. In validation and evaluation the network is called as any other.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from formwork.errors import DatasetError, ParamsError
from formwork.loading.augmentation.project import mixes
from formwork.params import Params

if TYPE_CHECKING:  # the stage try, which looks at losses, does without loaders
    from formwork.loading.base import Images
    from formwork.loading.targets import Targets

OwnLoss = Callable[[Tensor | tuple[Tensor, ...], Tensor], tuple[Tensor, Tensor]]
METHOD = "training_loss"


def own_loss(network: nn.Module) -> OwnLoss | None:
    """The loss of a network that has one."""
    return getattr(network, METHOD, None)


def check_own_loss(
    network: nn.Module, params: Params, task: str, resolution: int, outputs: int, targets: "Targets | None" = None
) -> Tensor | None:
    """Give the loss of a network, if it has one, two images of zeros, and look at what it gives.

    Args:
        task: see formwork.interim.settings.Settings. resolution: side of the images in pixels.
        outputs: of the network for each image.
        targets: of the training split, once they are known.

    Returns:
        The loss, a tensor of one number with a gradient.

    Raises:
        ParamsError: it fails, or gives something else; or params.yaml asks for what the loss of the task alone has.
        DatasetError: the images have weights, which it is not given.
    """
    loss = own_loss(network)
    if loss is None:
        return None
    name = f"{METHOD} of model.name {params.model.name}"
    if params.train.label_smoothing or params.train.class_weights:
        key = "train.label_smoothing" if params.train.label_smoothing else "train.class_weights"
        raise ParamsError(f"{name} is a loss of its own, which {key} does not change: remove that.", key)
    if targets is not None and targets.weights is not None:
        raise DatasetError(f"{name} is a loss of its own, and the images have weights, which it is not given.")
    sides = params.augment.sides(resolution)
    images = example(sides)
    wanted = example_targets(task, outputs, mixes(params))
    found: object
    try:
        found = loss(images, wanted)
    except MemoryError:
        raise
    except Exception as error:  # whatever the user's code raises
        reason = str(error).partition("\n")[0].rstrip(".")
        shapes = " and ".join(str(tuple(group.shape)) for group in _tensors(images))
        given = f"{shapes} and targets {tuple(wanted.shape)} {str(wanted.dtype).removeprefix('torch.')}"
        views = f"; augment.views gives {len(sides)} views of an image" if len(sides) > 1 else ""
        raise ParamsError(
            f"{name} cannot be computed with images {given}{views}: {type(error).__name__}: {reason}.", "model.name"
        ) from error
    if not (isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, Tensor) for part in found)):
        kind = type(found).__name__
        raise ParamsError(f"{name} must give two tensors, loss and outputs, and gives {kind}.", "model.name")
    value, answers = found
    if value.dim() or not value.requires_grad or answers.shape != (2, outputs):
        raise ParamsError(
            f"{name} must give a loss of one number with a gradient, and outputs (2, {outputs}) for 2 images; it gives "
            f"{tuple(value.shape)}{'' if value.requires_grad else ' without a gradient'} and {tuple(answers.shape)}.",
            "model.name",
        )
    return value


def example(sides: Sequence[int]) -> "Images":
    """Two images of zeros in views of these sides, as a batch has them."""
    groups = [torch.zeros(2, sides.count(side), 3, side, side) for side in dict.fromkeys(sides)]
    if len(sides) == 1:
        return groups[0][:, 0]
    return groups[0] if len(groups) == 1 else tuple(groups)


def example_targets(task: str, outputs: int, mixed: bool) -> Tensor:
    """Targets of two images, as a batch has them; see formwork.loading.base.Batch."""
    if task != "classes":
        return torch.zeros(2, outputs)
    return torch.full((2, outputs), 1 / outputs) if mixed else torch.zeros(2, dtype=torch.int64)


def _tensors(images: "Images") -> tuple[Tensor, ...]:
    """The images of a batch, a tensor for each size."""
    return images if isinstance(images, tuple) else (images,)


def one_by_one(images: "Images", *numbers: Tensor) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """A batch of which each view counts as an image of its own.

    Returns:
        Images (N, 3, S, S), a tensor for each size, and `numbers`, each for all of these images in their order.
    """
    groups = _tensors(images)
    views = sum(group.shape[1] for group in groups)
    flat = [group.transpose(0, 1).flatten(0, 1) for group in groups]
    return flat, tuple(part.repeat(views, *(1,) * (part.dim() - 1)) for part in numbers)
