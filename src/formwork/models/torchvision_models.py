"""Classification models of torchvision, by its own registry."""

from collections import OrderedDict
from collections.abc import Callable

from torch import Tensor, nn
from torchvision import models
from torchvision.models.convnext import ConvNeXt
from torchvision.models.densenet import DenseNet
from torchvision.models.googlenet import GoogLeNet
from torchvision.models.inception import Inception3
from torchvision.models.regnet import RegNet
from torchvision.models.resnet import ResNet
from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

from formwork.errors import ParamsError
from formwork.models.options import make, near_name
from formwork.models.stem import convolution_of, init_normal, is_small, leave_out, patch_side, replace_convolution
from formwork.params import Model
from formwork.params.model import OPTIONS

AUXILIARY = ("googlenet", "inception_v3")
"""Models with more outputs in training, for losses in the middle: those are left out."""


def build(params: Model, outputs: int, resolution: int) -> nn.Module:
    """See models.build.build_model."""
    name = params.variant
    known = models.list_models(module=models)
    if name not in known:
        raise _unknown(name, known)
    small = is_small(params, resolution)
    others: dict[str, object] = {"num_classes": outputs}
    patch = 0
    if name.startswith("vit_"):
        # A small patch is put in below: as many patches of the size that the name says stand for them here.
        patch = patch_side(resolution) if small else 0
        others["image_size"] = resolution // patch * int(name.rpartition("_")[2]) if patch else resolution
    elif name == "maxvit_t":
        others["input_size"] = (resolution, resolution)
    elif name in AUXILIARY:
        others |= {"aux_logits": False, "init_weights": True}
        if params.weights == "default":  # they were trained with other means than torchvision's others
            others["transform_input"] = True
    function: Callable[..., nn.Module] = models.get_model_builder(name)
    fixed = resolution if {"image_size", "input_size"} & others.keys() else None
    model = make(params, function, fixed, **others)
    if small:
        _make_stem_small(model, patch, resolution)
    return model


def adapt(tensors: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights for images of another size, by interpolating the position embeddings; auxiliary outputs are left out."""
    position = "encoder.pos_embedding"
    if (
        isinstance(network, VisionTransformer)
        and position in tensors
        and tensors[position].shape != network.encoder.pos_embedding.shape
    ):
        return dict(interpolate_embeddings(network.image_size, network.patch_size, OrderedDict(tensors)))
    if isinstance(network, (GoogLeNet, Inception3)):
        return {name: tensor for name, tensor in tensors.items() if not name.lower().startswith("aux")}
    return tensors


def _make_stem_small(model: nn.Module, patch: int, resolution: int) -> None:
    match model:
        case ResNet():
            replace_convolution(model, "conv1")
            leave_out(model, "maxpool")
        case DenseNet():
            replace_convolution(model, "features.conv0")
            leave_out(model, "features.pool0")
        case RegNet():
            convolution_of(model, "stem.0").stride = (1, 1)
        case ConvNeXt():
            init_normal(replace_convolution(model, "features.0.0"), 0.02)
        case VisionTransformer():
            projection = nn.Conv2d(3, model.hidden_dim, patch, stride=patch)
            init_normal(projection, (3 * patch**2) ** -0.5)
            model.conv_proj, model.patch_size, model.image_size = projection, patch, resolution


def _unknown(name: str, known: list[str]) -> ParamsError:
    import timm  # seconds, which are spent where nothing else is to be done

    if timm.is_model(name.partition(".")[0]):
        advice = f"Did you mean 'timm/{name}'? "
    else:
        advice = near_name(name, [*OPTIONS, *known])
    return ParamsError(
        f"model.name is {name!r}, and neither Formwork nor torchvision has a model of that name. {advice}"
        "docs/models.md says which names there are.",
        "model.name",
    )
