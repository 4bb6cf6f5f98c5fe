"""Models of timm, by its own registry: timm/<name>."""

import sys
from functools import partial

import timm
from timm.models.convnext import ConvNeXt
from timm.models.densenet import DenseNet
from timm.models.regnet import RegNet
from timm.models.resnet import ResNet
from torch import Tensor, nn

from formwork.errors import ParamsError
from formwork.models.options import make, near_name
from formwork.models.stem import convolution_of, init_normal, is_small, leave_out, patch_side, replace_convolution
from formwork.params import Model

PATCHES = ("timm.models.vision_transformer", "timm.models.deit")
"""Modules of the vision transformers whose patches have any size."""


def build(params: Model, outputs: int, resolution: int) -> nn.Module:
    """See models.build.build_model."""
    architecture, _, tag = params.variant.partition(".")
    if not timm.is_model(architecture):
        raise _unknown(params.name, timm.list_models())
    if tag and not timm.models.is_model_pretrained(params.variant):
        raise _unknown(params.name, timm.list_models(f"{architecture}.*", pretrained=True))
    settings = timm.get_pretrained_cfg(params.variant)
    if params.weights == "default" and not (settings and settings.has_weights):
        raise _unpublished(params)
    small = is_small(params, resolution)
    others: dict[str, object] = {"num_classes": outputs}
    fixed = bool(settings and settings.fixed_input_size)
    if fixed:
        others["img_size"] = resolution
    if small and timm.model_entrypoint(architecture).__module__ in PATCHES:
        others["patch_size"] = patch_side(resolution)
    model = make(params, partial(timm.create_model, params.variant), resolution if fixed else None, **others)
    if small:
        _make_stem_small(model)
    return model


def adapt(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights for images of another size, by the function with which timm fits published ones."""
    wanted = network.state_dict()
    if all(name in wanted and wanted[name].shape == tensor.shape for name, tensor in tensors.items()):
        return tensors
    fit = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    return tensors if fit is None else dict(fit(tensors, network))


def _make_stem_small(model: nn.Module) -> None:
    match model:
        case ResNet() if isinstance(model.conv1, nn.Sequential):  # several convolutions of 3 x 3
            convolution_of(model, "conv1.0").stride = (1, 1)
            leave_out(model, "maxpool")
        case ResNet():
            replace_convolution(model, "conv1")
            leave_out(model, "maxpool")
        case DenseNet():
            replace_convolution(model, "features.conv0")
            leave_out(model, "features.pool0")
        case RegNet():
            name = "stem" if isinstance(model.stem, nn.Conv2d) else "stem.conv"
            convolution_of(model, name).stride = (1, 1)
        case ConvNeXt() if isinstance(model.stem[0], nn.Conv2d) and model.stem[0].stride == model.stem[0].kernel_size:
            init_normal(replace_convolution(model, "stem.0"), 0.02)


def _unpublished(params: Model) -> ParamsError:
    architecture = params.variant.partition(".")[0]
    others = [f"timm/{name}" for name in timm.list_models(f"{architecture}.*", pretrained=True)]
    advice = f"There are some of {', '.join(others)}." if others else "Choose another model.name."
    return ParamsError(
        f"model.weights is default, and timm publishes none for {params.name}. {advice} Or set model.weights: null.",
        "model.weights",
        "model.name",
    )


def _unknown(name: str, known: list[str]) -> ParamsError:
    advice = near_name(name, [f"timm/{one}" for one in known])
    return ParamsError(
        f"model.name is {name!r}, and timm {timm.__version__} has no model of that name. {advice}timm.list_models() "
        "names them all.",
        "model.name",
    )
