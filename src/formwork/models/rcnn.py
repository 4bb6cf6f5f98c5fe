"""rcnn: a recurrent convolutional network, which uses time."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class RecurrentCNN(nn.Module):
    """A convolutional network with lateral recurrence: each layer also sees its own response of one step before.

    After M. Liang and X. Hu, "Recurrent convolutional neural network for object recognition", CVPR 2015, unrolled over
    the time axis of the input. (B, T, 3, H, W) to (B, T, outputs); (B, 3, H, W), one step, to (B, outputs).

    Args:
        widths: channels of each layer; the first keeps the resolution, each other one halves it.
    """

    recurrent = True

    def __init__(self, outputs: int, widths: Sequence[int] = (32, 64, 128)):
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
