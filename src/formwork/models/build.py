"""The models, by the names of model.name in params.yaml. Each takes images (B, 3, H, W) and gives (B, outputs):
logits of classes or labels, or numbers (see formwork.tasks). A recurrent one takes (B, T, 3, H, W) and gives
(B, T, outputs), see models/presentation.py."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from formwork.params import Model, ModelName

SMALL_IMAGE = 64  # pixels; below it resnet18's first two reductions would leave nothing to look at


def build_model(params: Model, outputs: int, resolution: int) -> nn.Module:
    """A model with random weights, drawn from torch's generator.

    Args:
        params: the section `model` of params.yaml.
        outputs: their number: of classes, labels or targets.
        resolution: side of its images in pixels, so that a model can suit them; it must take any other size, too.
    """
    return MODELS[params.name](outputs, resolution)


def _small_cnn(outputs: int, resolution: int) -> nn.Module:
    return SmallCNN(outputs)


def _rcnn(outputs: int, resolution: int) -> nn.Module:
    return RecurrentCNN(outputs)


def _resnet18(outputs: int, resolution: int) -> nn.Module:
    from torchvision.models import resnet18  # here, because it takes a second and the other models do not need it

    model = resnet18(num_classes=outputs)
    if resolution < SMALL_IMAGE:  # as is usual for CIFAR: a 3 x 3 first convolution without stride, no pooling
        model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        model.maxpool = nn.Identity()
    return model


MODELS: dict[ModelName, Callable[[int, int], nn.Module]] = {
    "small_cnn": _small_cnn,
    "resnet18": _resnet18,
    "rcnn": _rcnn,
}
"""For each name in params.ModelName, a function of the number of outputs and the resolution."""


class SmallCNN(nn.Sequential):
    """Three blocks of convolution, batch norm and ReLU, the second and third at half the resolution of the one before;
    the mean over all positions; a linear layer."""

    def __init__(self, outputs: int, width: int = 32):
        super().__init__(
            *_block(3, width),
            *_block(width, 2 * width, stride=2),
            *_block(2 * width, 4 * width, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, outputs),
        )


def _block(inputs: int, outputs: int, stride: int = 1) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


class RecurrentCNN(nn.Module):
    """A convolutional network with lateral recurrence: each layer also sees its own response of one step before.

    After M. Liang and X. Hu, "Recurrent convolutional neural network for object recognition", CVPR 2015, unrolled over
    the time axis of the input. (B, T, 3, H, W) to (B, T, outputs); (B, 3, H, W), one step, to (B, outputs).
    """

    recurrent = True

    def __init__(self, outputs: int, widths: tuple[int, ...] = (32, 64, 128)):
        super().__init__()
        inputs = (3, *widths[:-1])
        self.layers = nn.ModuleList(
            LateralLayer(i, o, stride=1 if n == 0 else 2) for n, (i, o) in enumerate(zip(inputs, widths, strict=True))
        )
        self.classify = nn.Linear(widths[-1], outputs)

    def forward(self, images: Tensor) -> Tensor:
        if images.dim() == 4:
            return self.forward(images.unsqueeze(1)).squeeze(1)
        states: list[Tensor | None] = [None] * len(self.layers)
        logits = []
        for step in images.unbind(dim=1):
            for n, layer in enumerate(self.layers):
                step = states[n] = layer(step, states[n])
            logits.append(self.classify(step.mean(dim=(2, 3))))
        return torch.stack(logits, dim=1)


class LateralLayer(nn.Module):
    """relu(norm(feedforward(x) + lateral(state before)))."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.feedforward = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.lateral = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, state: Tensor | None) -> Tensor:
        response = self.feedforward(x)
        if state is not None:
            response = response + self.lateral(state)
        return torch.relu(self.norm(response))
