"""How a network is shown images over time, and which of its outputs count: the same in training, in evaluation and in
formwork.load_model.

A recurrent network says so by an attribute `recurrent = True`: it takes (B, T, 3, H, W) and gives (B, T, K), K outputs
for each of T timesteps. Any other takes (B, 3, H, W) and gives (B, K).
"""

import torch
from torch import Tensor, nn

from formwork.params import Model


class Presentation:
    """The timesteps that the section `model` of params.yaml asks for.

    Attributes:
        shown: (T,) whether each timestep shows the image (True) or a blank.
        in_loss: timesteps in the loss, counted from 0. The last of them gives the answer.
    """

    def __init__(self, params: Model):
        self.shown = params.shown
        self.in_loss = params.positions_in_loss

    def frames(self, images: Tensor) -> Tensor:
        """What a recurrent network takes: each image at all T timesteps, on its device.

        Where all of them show it, they are views of the same memory, and no more is needed. With blanks they are a copy
        of T times the memory of the batch.

        Args:
            images: (B, 3, H, W), normalised. A blank is 0 then: the mean colour.

        Returns:
            (B, T, 3, H, W), of which those of each timestep are channels_last.
        """
        if all(self.shown):
            return images.unsqueeze(1).expand(-1, len(self.shown), -1, -1, -1)
        pixels = images.permute(0, 2, 3, 1)
        blank = torch.zeros_like(pixels)
        return torch.stack([pixels if shown else blank for shown in self.shown]).permute(1, 0, 4, 2, 3)

    def outputs(self, network: nn.Module, images: Tensor) -> Tensor:
        """(B, T, K) of a network for images (B, 3, H, W)."""
        return network(self.frames(images)) if is_recurrent(network) else network(images).unsqueeze(1)

    def answers(self, network: nn.Module, images: Tensor) -> Tensor:
        """(B, K) of a network for images (B, 3, H, W): the outputs of the last timestep in the loss."""
        return self.answer(self.outputs(network, images)) if is_recurrent(network) else network(images)

    def answer(self, outputs: Tensor) -> Tensor:
        """(B, K) of outputs (B, T, K)."""
        return outputs[:, self.in_loss[-1]]

    def for_loss(self, network: nn.Module, images: Tensor, *targets: Tensor) -> tuple[Tensor, ...]:
        """What the loss is computed of, where each timestep in it counts as an image of its own.

        Args:
            images: (B, 3, H, W). targets: and weights, each (B, ...).

        Returns:
            Outputs (N, K), and each of `targets` as (N, ...).
        """
        if not is_recurrent(network):
            return network(images), *targets
        outputs, count = self.outputs(network, images), len(self.in_loss)
        if count < len(self.shown):
            outputs = torch.stack([outputs[:, step] for step in self.in_loss], dim=1)
        return outputs.flatten(0, 1), *(part.repeat_interleave(count, dim=0) for part in targets)


class Presented(nn.Module):
    """A recurrent network that is given single images: (B, 3, H, W) to (B, K), its answer. What already has a time axis
    it takes as it is: (B, T, 3, H, W), for any T, to (B, T, K)."""

    def __init__(self, network: nn.Module, params: Model):
        super().__init__()
        self.network = network
        self.presentation = Presentation(params)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images) if images.dim() == 5 else self.presentation.answers(self.network, images)

    def outputs(self, images: Tensor) -> Tensor:
        """(B, T, K): of each timestep, for images (B, 3, H, W)."""
        return self.presentation.outputs(self.network, images)

    def answer(self, outputs: Tensor) -> Tensor:
        """(B, K) of outputs (B, T, K): those of the last timestep in the loss."""
        return self.presentation.answer(outputs)


def is_recurrent(network: nn.Module) -> bool:
    return getattr(network, "recurrent", False)
