"""The first layers of a model, for small images: model.stem."""

from torch import nn

from formwork.params import Model

SMALL_IMAGE = 64
"""Side in pixels below which the original first layers, made for 224, would leave little to look at."""
TOKENS = 7
"""Patches that a vision transformer sees of a small image along a side, at least, where there are as many pixels."""


def is_small(params: Model, resolution: int) -> bool:
    """Whether a model is to have the stem for small images."""
    return params.stem == "auto" and resolution < SMALL_IMAGE


def replace_convolution(model: nn.Module, name: str) -> nn.Conv2d:
    """Put a convolution of 3 x 3 without a stride, and of as many channels, in the place of the first one; as is usual
    for CIFAR, see K. He et al., "Deep residual learning for image recognition", CVPR 2016, section 4.2."""
    original = convolution_of(model, name)
    new = nn.Conv2d(3, original.out_channels, 3, padding=1, bias=original.bias is not None)
    model.set_submodule(name, new)
    return new


def first_convolution(model: nn.Module) -> str:
    """Name of its weight; "" where there is none."""
    return next((name for name, parameter in model.named_parameters() if parameter.dim() == 4), "")


def convolution_of(model: nn.Module, name: str) -> nn.Conv2d:
    found = model.get_submodule(name)
    assert isinstance(found, nn.Conv2d)
    return found


def leave_out(model: nn.Module, name: str) -> None:
    model.set_submodule(name, nn.Identity())


def init_normal(convolution: nn.Conv2d, std: float) -> None:
    """Weights of a truncated normal distribution, and biases of 0, as transformers and ConvNeXt have them."""
    nn.init.trunc_normal_(convolution.weight, std=std)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


def patch_side(resolution: int) -> int:
    """Side of the patches of a vision transformer for small images: the largest that divides the image into TOKENS or
    more along a side. 4 for 28 and 32 pixels, 1 for 8."""
    sides = range(1, resolution + 1)
    return max(side for side in sides if resolution % side == 0 and (side == 1 or resolution // side >= TOKENS))
