"""Images over time: what a recurrent network is shown, and which of its outputs count."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import formwork
from formwork.models.build import build_model
from formwork.models.presentation import Presentation, Presented
from formwork.params import Model

ROOT = Path(formwork.__file__).parents[2]


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.randn(3, 3, 8, 8).to(memory_format=torch.channels_last)


class Sum(nn.Module):
    """Outputs of each timestep: the sum over the pixels of each channel, times a weight."""

    recurrent = True

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, frames):
        assert frames.dim() == 5
        return frames.sum(dim=(3, 4)) * self.weight


def presented(network=None, **values) -> Presented:
    return Presented(network or Sum(), Model(name="rcnn", **values))


def test_images_alone_take_no_memory(images):
    frames = Presentation(Model(name="rcnn", timesteps=5)).frames(images)
    assert frames.shape == (3, 5, 3, 8, 8)
    assert frames.stride(1) == 0
    assert frames.data_ptr() == images.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_blanks_stand_where_the_pattern_has_them(images, dtype):
    images = images.to(dtype)
    frames = Presentation(Model(name="rcnn", pattern="1011", blank_before=1, blank_after=1)).frames(images)
    assert frames.shape == (3, 6, 3, 8, 8)
    assert frames.dtype == dtype
    for step, shown in enumerate("010110"):
        of_step = frames[:, step]
        assert torch.equal(of_step, images if shown == "1" else torch.zeros_like(images))
        assert of_step.is_contiguous(memory_format=torch.channels_last)


def test_the_answer_is_that_of_the_last_step_in_the_loss(images):
    total = images.sum(dim=(2, 3))
    for loss_steps, step in [("all", 3), ("last", 3), ([3], 2), ([3, 1], 2), ([-3], 1)]:
        model = presented(pattern="1011", loss_steps=loss_steps)
        assert torch.equal(model.outputs(images)[:, step], model(images))
        assert torch.allclose(model(images), total if step != 1 else torch.zeros_like(total))


def test_a_sequence_is_taken_as_it_is(images):
    """Of any length, in place of the pattern."""
    sequence = torch.stack([images, 2 * images], dim=1)
    assert torch.equal(presented(pattern="1011")(sequence), sequence.sum(dim=(3, 4)))


def test_for_the_loss_each_timestep_is_an_image(images):
    """(B, K) mixed targets and (B,) weights follow, batch-major."""
    presentation, network = Presentation(Model(name="rcnn", pattern="101", loss_steps=[1, 2])), Sum()
    mixed, weights = torch.rand(3, 4), torch.rand(3)
    outputs, targets, of_images = presentation.for_loss(network, images, mixed, weights)
    assert outputs.shape == (6, 3)
    assert torch.equal(outputs.view(3, 2, 3), presentation.outputs(network, images)[:, :2])
    assert torch.equal(targets.view(3, 2, 4), mixed.unsqueeze(1).expand(3, 2, 4))
    assert torch.equal(of_images.view(3, 2), weights.unsqueeze(1).expand(3, 2))


def test_a_network_without_time_is_given_images(images):
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5))
    presentation = Presentation(Model())
    outputs, targets = presentation.for_loss(network, images, torch.arange(3))
    assert torch.equal(outputs, network(images))
    assert torch.equal(outputs, presentation.answers(network, images))
    assert targets.tolist() == [0, 1, 2]
    assert presentation.outputs(network, images).shape == (3, 1, 5)


def test_one_step_of_a_recurrent_network_is_the_network_on_images(images):
    network = build_model(Model(name="rcnn"), 4, 8).eval()
    assert torch.equal(presented(network)(images), network(images))


def test_gradients_pass_through_blanks(images):
    """Answered two blanks after the image, from what the network kept."""
    torch.manual_seed(0)
    network = build_model(Model(name="rcnn"), 4, 8)
    images = images.requires_grad_()
    presented(network, pattern="100", loss_steps="last")(images).square().sum().backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_the_network_that_the_docs_describe_is_shown_patterns(images):
    (example,) = re.findall(r"^```python\n(from torch.*?)^```", (ROOT / "docs/recurrent.md").read_text(), re.M | re.S)
    names: dict = {}
    exec(example, names)
    network = names["unit"](5)
    outputs = presented(network, pattern="0110").outputs(images)
    assert outputs.shape == (3, 4, 5)
    assert torch.allclose(outputs[:1, 0], outputs[1:2, 0])  # all have seen the same blank
    assert not torch.allclose(outputs[:1, 1], outputs[1:2, 1])


def test_an_empty_batch_of_a_rank_stays_one(images):
    presentation, network = Presentation(Model(name="rcnn", pattern="10")), build_model(Model(name="rcnn"), 4, 8).eval()
    assert presentation.answers(network, images[:0]).shape == (0, 4)
