"""Whether a model can be trained with the images and batches that params.yaml asks for, tried before any work."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from formwork.errors import ParamsError
from formwork.models.build import build_model
from formwork.models.presentation import Presentation, is_recurrent
from formwork.params import Model, Params
from formwork.text import count as count_of
from formwork.training.compilation import check_compile
from formwork.training.freeze import freeze
from formwork.training.own_loss import check_own_loss, own_loss
from formwork.training.recipe import check_recipe

if TYPE_CHECKING:  # the stage try, which looks at losses, does without loaders
    from formwork.loading.targets import Targets

OUTPUTS = 3
"""In place of the number of classes, which is not known before the images are: another than of images tried."""
WAITS_FOR_ALL = ("auto", "ddp", "ddp_spawn", "ddp_fork", "ddp_notebook", "ddp_find_unused_parameters_false")
"""Strategies of several processes that want a gradient of each parameter in each step."""
LARGEST = 224
"""Side in pixels above which nothing is tried: what a model takes then, it takes at any size above."""


class UnsuitableOutputs(Exception):
    """A model gives something else than outputs for each image."""


def check_params(params: Params) -> None:
    """Make, freeze and check a model with nothing but params.yaml; a resolution that is `auto` is not tried.

    Where the task is `auto`, a loss of its own is refused that works with the targets of no task.

    Raises:
        ParamsError: see there.
    """
    devices = params.trainer.num_nodes * (1 if params.trainer.devices == "auto" else params.trainer.devices)
    resolution = None if params.dataset.resolution == "auto" else params.dataset.resolution
    with torch.random.fork_rng(devices=[]):
        model = build_model(params.model, OUTPUTS, resolution or LARGEST)
    freeze(model, params.model.freeze)
    check_recipe(model, params)
    check_compile(params.trainer)
    if resolution:
        _check_loss_of_any(model, params, resolution, devices)
    if resolution or params.ffcv.resolution_schedule or len(params.model.shown) > 1:
        check_model(model, params, resolution, devices, OUTPUTS)


def _check_loss_of_any(model: nn.Module, params: Params, resolution: int, devices: int) -> None:
    tasks = ("classes", "multilabel") if params.dataset.task == "auto" else (params.dataset.task,)
    errors: list[ParamsError] = []
    for task in tasks:
        try:
            return check_loss(model, params, task, resolution, devices, OUTPUTS)
        except ParamsError as error:
            errors.append(error)
    raise errors[0]


def check_model(
    model: nn.Module, params: Params, resolution: int | None, devices: int, outputs: int | None = None
) -> None:
    """Give a model, on the CPU, one or two images of each size that it is to be trained with. It stays as it is.

    Args:
        resolution: side of the images in pixels, where no schedule says otherwise.
        devices: number of processes that share a batch.
        outputs: number that it must give for each image; None: any.

    Raises:
        ParamsError: it cannot take them.
    """
    presentation = _presentation(model, params.model)
    count = min(max(params.data.batch_size // devices, 1), 2)
    sizes = {side: "ffcv.resolution_schedule" for _, side in params.ffcv.resolution_schedule or []}
    if own_loss(model) is None:  # which may show it other images
        views = params.augment.views if isinstance(params.augment.views, list) else []
        sizes |= {view.resolution: "augment.views" for view in views if view.resolution}
    if resolution:
        sizes[resolution] = f"datasets.{params.data.name}.resolution"
    for side, key in sorted(sizes.items()):
        error = _failure(model, count, side, outputs, presentation)
        if error is None:
            continue
        if isinstance(error, UnsuitableOutputs):
            raise ParamsError(
                f"model.name {params.model.name} cannot be trained: {error}. Change model.options or the model."
            ) from error
        start = f"model.name {params.model.name} cannot be trained on images of {side} x {side} pixels"
        if count == 1 and _failure(model, 2, side, outputs, presentation) is None:
            share = "one image a batch" if devices == 1 else f"one image a device ({devices} devices)"
            raise ParamsError(
                f"{start} with {share}: batch norm needs more than one value of each channel. Set data.batch_size to "
                f"{2 * devices} or more (it is {params.data.batch_size}), or make the images larger: {key}."
            ) from error
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ParamsError(f"{start}: {reason}. Make them larger ({key}), or choose another model.name.") from error
    if sizes and own_loss(model) is None and _wait_for_all(params, devices):
        with as_it_was(model):
            images = torch.zeros(count, 3, *[min(LARGEST, *sizes)] * 2)
            answers, *_ = presentation.for_loss(model.train(), images)
            _check_all_used(model, params, answers.sum())


def check_loss(
    model: nn.Module,
    params: Params,
    task: str,
    resolution: int,
    devices: int,
    outputs: int,
    targets: "Targets | None" = None,
) -> None:
    """Try the loss of a network that has one of its own; see check_own_loss. The network stays as it is.

    Args:
        devices: number of processes that share a batch.

    Raises:
        ParamsError, DatasetError: see check_own_loss; ParamsError: several devices would wait for a gradient.
    """
    with as_it_was(model):
        loss = check_own_loss(model, params, task, resolution, outputs, targets)
        if loss is not None and _wait_for_all(params, devices):
            _check_all_used(model, params, loss)


def _wait_for_all(params: Params, devices: int) -> bool:
    """Whether devices wait for each other's gradients of each parameter in each step."""
    return devices > 1 and params.trainer.strategy in WAITS_FOR_ALL


def _presentation(model: nn.Module, params: Model) -> Presentation:
    presentation = Presentation(params)
    steps = len(presentation.shown)
    if steps > 1 and not is_recurrent(model):
        raise ParamsError(
            f"model in params.yaml asks for {steps} timesteps, and model.name {params.name} is not recurrent. A "
            "network of your own that takes (B, T, 3, H, W) and gives (B, T, K) says so by an attribute `recurrent = "
            "True`; else set model.timesteps: 1, and no model.pattern, model.blank_before and model.blank_after."
        )
    return presentation


def _failure(
    model: nn.Module, count: int, side: int, outputs: int | None, presentation: Presentation
) -> Exception | None:
    """What a step with `count` images raises."""
    side = min(side, LARGEST)
    images = torch.zeros(count, 3, side, side)
    try:
        with torch.no_grad(), as_it_was(model):
            model.train()
            found = model(presentation.frames(images) if is_recurrent(model) else images)
        steps = (len(presentation.shown),) if is_recurrent(model) else ()
        return _unsuitable(found, (count, *steps), outputs)
    except MemoryError:
        raise
    except Exception as error:  # whatever the layers of a model raise
        return error


def _check_all_used(model: nn.Module, params: Params, loss: Tensor) -> None:
    """Raises ParamsError: a loss of one number leaves some parameters without a gradient, for which ddp would wait."""
    if loss.requires_grad:
        loss.backward()
    unused = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    model.zero_grad()
    if unused:
        raise ParamsError(
            f"The loss of model.name {params.model.name} does not depend on {unused[0]}, one of "
            f"{count_of(len(unused), 'parameter')} without a gradient, and several devices would wait for it. Set "
            "trainer.strategy: ddp_find_unused_parameters_true, or name them in model.freeze."
        )


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Leave a model, and the random numbers that are drawn next, as they were."""
    before = [buffer.clone() for buffer in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, value in zip(model.buffers(), before, strict=True):  # batch norm has counted these images
                buffer.copy_(value)


def _unsuitable(found: object, shape: tuple[int, ...], outputs: int | None) -> Exception | None:
    """What is wrong with the outputs of a model, which should be (*shape, outputs)."""
    if not isinstance(found, torch.Tensor):
        return UnsuitableOutputs(f"in training it gives no tensor, but {type(found).__name__}")
    wanted = outputs or (found.shape[-1] if found.dim() else 0)
    if found.shape == (*shape, wanted):
        return None
    steps = f"{shape[1]} timesteps of " if len(shape) > 1 else ""
    expected = ", ".join(str(size) for size in (*shape, outputs or "K"))
    return UnsuitableOutputs(f"for {steps}{shape[0]} images it gives {tuple(found.shape)} and not ({expected})")
