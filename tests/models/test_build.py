"""Every model takes every size of image, and the recurrent one uses time."""

from typing import get_args

import pytest
import torch

from formwork.models.build import MODELS, build_model
from formwork.params import Model, ModelName


def test_params_yaml_knows_the_models_that_there_are():
    assert get_args(ModelName) == tuple(MODELS)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("resolution", [8, 32, 64])
def test_images_to_logits(name, resolution):
    model = build_model(Model(name=name), outputs=7, resolution=resolution)
    logits = model(torch.rand(2, 3, resolution, resolution))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    unused = [n for n, p in model.named_parameters() if p.grad is None]
    assert all("lateral" in n for n in unused)  # a single step has no step before


def test_the_recurrent_model_gives_an_answer_for_each_step():
    torch.manual_seed(0)
    model = build_model(Model(name="rcnn"), outputs=5, resolution=16).eval()
    image = torch.rand(3, 3, 16, 16)
    logits = model(image.unsqueeze(1).expand(-1, 4, -1, -1, -1))
    assert logits.shape == (3, 4, 5)
    assert torch.allclose(logits[:, 0], model(image))
    assert not torch.allclose(logits[:, 0], logits[:, 1])  # lateral input arrives in the second step
    logits[:, -1].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in model.named_parameters() if "lateral" in n)
