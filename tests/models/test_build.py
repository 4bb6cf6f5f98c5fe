"""Models by name: of Formwork, torchvision and timm; their options; and what cannot be made."""

import pytest
import torch

from formwork.errors import ParamsError
from formwork.models.build import build_model
from formwork.models.options import without_weights
from formwork.params import Model

NAMES = ("small_cnn", "resnet18", "rcnn")


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("densenet121", 32),
        ("regnet_y_400mf", 28),
        ("convnext_tiny", 32),
        ("vit_b_32", 8),
        ("googlenet", 64),
        ("timm/resnet10t", 8),
        ("timm/regnetv_040", 8),  # whose stem is the convolution itself
        ("timm/vit_tiny_patch16_224", 28),
        ("timm/convnext_atto", 32),
        ("timm/swin_tiny_patch4_window7_224.ms_in1k", 32),
    ],
)
def test_models_of_libraries(name: str, resolution: int) -> None:
    model = build_model(Model(name=name), outputs=7, resolution=resolution)
    for training in (True, False):
        outputs = model.train(training)(torch.zeros(2, 3, resolution, resolution))
        assert outputs.shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "small", "original"),
    [
        ("resnet34", (64, 3, 3, 3), (64, 3, 7, 7)),
        ("densenet121", (64, 3, 3, 3), (64, 3, 7, 7)),
        ("convnext_tiny", (96, 3, 3, 3), (96, 3, 4, 4)),
        ("vit_b_16", (768, 3, 4, 4), (768, 3, 16, 16)),
        ("timm/resnext50_32x4d", (64, 3, 3, 3), (64, 3, 7, 7)),
        ("timm/vit_tiny_patch16_224", (192, 3, 4, 4), (192, 3, 16, 16)),
    ],
)
def test_the_stem_suits_small_images(name: str, small: tuple, original: tuple) -> None:
    def stem(kind: str, resolution: int) -> tuple:
        model = without_weights(lambda: build_model(Model(name=name, stem=kind), 2, resolution))
        return next(tuple(p.shape) for p in model.parameters() if p.dim() == 4)

    assert stem("auto", 32) == small
    assert stem("original", 32) == stem("auto", 64) == original


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet81", {}, "Did you mean 'resnet18'?"),
        ("smal_cnn", {}, "Did you mean 'small_cnn'?"),
        ("resnet26d", {}, "Did you mean 'timm/resnet26d'?"),
        ("timm/resnot18", {}, "Did you mean 'timm/resnet18'?"),
        ("timm/resnet18.a1_in2k", {}, "Did you mean 'timm/resnet18.a1_in1k'?"),
        ("resnet18", {"zeroinit_residual": True}, "Did you mean 'zero_init_residual'?"),
        ("convnext_tiny", {"layer_scal": 1}, "Did you mean 'layer_scale'?"),  # it takes any, and says nothing
        ("resnet18", {"layers": [1]}, r"model\.options\.layers cannot be set: the name resnet18 decides it"),
        ("resnet18", {"num_classes": 3}, r"model\.options\.num_classes cannot be set: that is decided by the dataset"),
        ("resnet18", {"weights": "DEFAULT"}, r"that is decided by model\.weights"),
        ("resnet18", {"groups": "two"}, r"model\.name resnet18 cannot be made with model\.options \{'groups': 'two'\}"),
        ("timm/resnet18", {"drop_rat": 0.1}, "Did you mean 'drop_rate'?"),
        ("vit_b_16", {}, r"model\.name vit_b_16 cannot be made for images of 70 x 70 pixels: .* indivisible"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_nearest(name: str, options: dict, message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build_model(Model(name=name, options=options), 3, 70)


def test_options_reach_the_model() -> None:
    assert build_model(Model(name="small_cnn", options={"width": 5}), 3, 8)[0].out_channels == 5
    assert build_model(Model(name="rcnn", options={"widths": [4, 6]}), 3, 8).classify.in_features == 6
    assert build_model(Model(name="resnet18", options={"width_per_group": 64}), 3, 8).fc.out_features == 3
    dropout = build_model(Model(name="timm/resnet18", options={"drop_rate": "1e-1"}), 3, 8).drop_rate
    assert dropout == 0.1
