"""Weights to start from are put into the network as far as they fit, and what does not is named; frozen parameters and
their statistics stay as they are."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from formwork.errors import FormworkError, ParamsError
from formwork.interim.settings import Settings, read_settings
from formwork.models.build import build_model
from formwork.models.model_file import load_model
from formwork.params import Model
from formwork.training.fit import train
from formwork.training.freeze import freeze
from formwork.training.initial import start_from
from formwork.weights.initial_file import Origin, write_initial
from formwork.weights.make import make_initial
from tests.training.conftest import make_params

SMALL = {"name": "small_cnn", "options": {"width": 4}}
ORIGIN = Origin(source="models/weights/a.pt", sha256="0" * 64)


@pytest.fixture
def settings(folders) -> Settings:
    """Three classes, 12 pixels."""
    return read_settings(folders.settings)


@pytest.fixture
def start(settings: Settings, tmp_path: Path) -> Callable[..., tuple[nn.Module, list[str]]]:
    """start(tensors, model section): the network that starts from them, and what is said."""

    def go(tensors: dict[str, Tensor], origin: Origin = ORIGIN, **model: object) -> tuple[nn.Module, list[str]]:
        params = Model.model_validate({"weights": "a.pt"} | model)
        write_initial(tmp_path / "initial.safetensors", tensors, origin)
        network = build_model(params, settings.outputs, settings.resolution)
        freeze(network, params.freeze)
        return network, start_from(network, params, settings, tmp_path / "initial.safetensors")

    return go


def weights(outputs: int = 3, resolution: int = 12, **model: object) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return build_model(Model.model_validate(SMALL | model), outputs, resolution).state_dict()


def same(network: nn.Module, tensors: dict[str, Tensor], but: tuple[str, ...] = ()) -> bool:
    state = network.state_dict()
    return all(torch.equal(state[name], tensor) != name.startswith(but) for name, tensor in tensors.items())


def test_all_of_it(start) -> None:
    network, lines = start(weights(), **SMALL)
    assert same(network, weights())
    assert lines == ["Starting from models/weights/a.pt: 20 tensors."]


@pytest.mark.parametrize("prefixes", ["module.", "model.", "module.model.", "_orig_mod.", "module._orig_mod.net."])
def test_prefixes_of_wrappers(start, prefixes: str) -> None:
    tensors = {f"{prefixes}{name}": tensor for name, tensor in weights().items()}
    assert same(start(tensors, **SMALL)[0], weights())
    assert same(start(tensors | {"n_averaged": torch.tensor(3)}, **SMALL)[0], weights())


def test_other_parts_of_a_lightning_module(start) -> None:
    tensors = {f"model.{name}": tensor for name, tensor in weights().items()} | {"loss.weight": torch.ones(3)}
    assert same(start(tensors, ORIGIN.model_copy(update={"lightning": True}), **SMALL)[0], weights())
    with pytest.raises(FormworkError, match="do not fit"):
        start(tensors, **SMALL)


def test_a_head_of_other_classes_starts_at_random(start) -> None:
    network, lines = start(weights(outputs=7), **SMALL)
    trunk = {name: tensor for name, tensor in weights(outputs=7).items() if not name.startswith("11.")}
    assert same(network, trunk)
    assert lines == ["Starting from models/weights/a.pt: 18 tensors; at random start 11.weight, 11.bias."]
    assert start(trunk, **SMALL)[1] == lines  # as where there is none


def test_what_does_not_fit_is_named(start) -> None:
    tensors = weights()
    del tensors["3.weight"], tensors["4.weight"], tensors["4.num_batches_tracked"]
    tensors |= {"extra.weight": torch.ones(2), "6.weight": torch.ones(3, 2)}
    with pytest.raises(ParamsError) as error:
        start(tensors, **SMALL)
    message = str(error.value)
    assert message.startswith(
        "The weights of models/weights/a.pt do not fit model.name small_cnn, which has 20 tensors:"
    )
    assert "2 missing: 3.weight, 4.weight\n" in message
    assert "1 unexpected: extra.weight\n" in message
    assert "1 of another shape: 6.weight (3x2 in place of 16x8x3x3)\n" in message


def test_weights_of_another_architecture_are_refused(start) -> None:
    with pytest.raises(ParamsError, match="another architecture"):
        start(weights(name="rcnn", options={}), **SMALL)
    with pytest.raises(ParamsError, match=r"15 of another shape: 0\.weight \(8x3x3x3 in place of 4x3x3x3\)"):
        start(weights(options={"width": 8}), **SMALL)


def test_the_stem_for_small_images_starts_at_random(start) -> None:
    published = weights(outputs=5, resolution=224, name="resnet18", options={})
    network, lines = start(published, name="resnet18")
    assert torch.equal(network.layer1[0].conv1.weight, published["layer1.0.conv1.weight"])
    assert "at random start fc.weight, fc.bias, conv1.weight." in lines[0]
    network, lines = start(published, name="resnet18", stem="original")
    assert same(network, {"conv1.weight": published["conv1.weight"]})
    with pytest.raises(ParamsError, match=r"keeps conv1\.weight .* random.*set model\.stem: original, or leave it out"):
        start(published, name="resnet18", freeze=["conv1.*", "layer1.*"])
    with pytest.raises(ParamsError, match=r"keeps fc\.weight, fc\.bias as at the start"):
        start(published, name="resnet18", stem="original", freeze=["fc.*"])


@pytest.mark.parametrize("name", ["vit_b_32", "timm/vit_tiny_patch16_224"])
def test_position_embeddings_are_interpolated(settings: Settings, tmp_path: Path, name: str) -> None:
    params = Model(name=name, weights="a.pt", stem="original")
    write_initial(tmp_path / "a", weights(resolution=96, name=name, options={}), ORIGIN)
    network = build_model(params, 3, 64)
    start_from(network, params, settings.model_copy(update={"resolution": 64}), tmp_path / "a")


def test_auxiliary_outputs_are_left_out(start) -> None:
    tensors = weights(name="googlenet", options={})
    aux = {"aux1.conv.conv.weight": torch.ones(2), "aux2.fc2.bias": torch.ones(2)}
    assert same(start(tensors | aux, name="googlenet")[0], tensors)


def test_other_statistics_are_offered(start, settings: Settings) -> None:
    own = ORIGIN.model_copy(update={"mean": list(settings.mean), "std": list(settings.std), "size": 12})
    assert len(start(weights(), own, **SMALL)[1]) == 1
    other = ORIGIN.model_copy(update={"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "size": 224})
    lines = start(weights(), other, **SMALL)[1]
    assert "images of 224 pixels that were normalised otherwise than those of colours" in lines[1]
    assert [line.strip() for line in lines[2:8]] == ["datasets:", "colours:", "mean:", "- 0.485", "- 0.456", "- 0.406"]


def test_frozen_parameters_and_their_statistics_stay(folders, tmp_path: Path) -> None:
    """And all others change; also where the training is interrupted by a validation after each epoch."""
    torch.save(weights(), tmp_path / "a.pt")
    initial = tmp_path / "initial.safetensors"
    model = SMALL | {"weights": "a.pt", "freeze": ["0.*", "1.*", "[3-7].*", "!6.*"]}
    params = make_params(model=model, train={"weight_decay": 0.1}, trainer={"max_epochs": 2})
    make_initial(params.model, tmp_path, initial)
    train(params, folders, tmp_path / "best.pt", tmp_path / "train", tmp_path / "speed", initial=initial)

    trained = load_model(tmp_path / "best.pt").network
    frozen = {name: tensor for name, tensor in weights().items() if name.startswith(("0.", "1.", "3.", "4.", "7."))}
    others = {name: tensor for name, tensor in weights().items() if name not in frozen}
    assert "1.running_mean" in frozen
    assert same(trained, frozen)
    assert same(trained, others, but=("6.", "7.", "11."))


def test_training_starts_from_the_weights(folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model that is trained already is as good after the first, tiny, step; and anew is not."""

    def accuracy(name: str, lr: float, epochs: int, **model: object) -> float:
        params = make_params(model=SMALL | model, train={"lr": lr}, trainer={"max_epochs": epochs})
        initial = tmp_path / f"{name}.safetensors"
        make_initial(params.model, tmp_path, initial)
        out = tmp_path / name
        train(params, folders, out / "best.pt", out / "train", out / "speed", initial=initial)
        (found,) = re.findall(r"validation accuracy ([\d.]+)", capsys.readouterr().out)
        return float(found)

    assert accuracy("first", 0.02, 4) > 0.9
    (tmp_path / "first/best.pt").rename(tmp_path / "first.pt")
    assert accuracy("second", 1e-6, 1, weights="first.pt") > 0.9
    assert accuracy("anew", 1e-6, 1) < 0.6


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["layer1"], r"'layer1', which matches no parameter of the model\. Did you mean 'layer1\.\*'\?"),
        (["layer9.*"], r"Did you mean 'layer[1-4]\.\*'"),
        (["conv1.wieght"], r"Did you mean 'conv1\.weight'"),
        (["*"], r"nothing would be trained\. Leave the head out: add '!fc\.\*'"),
        (["!fc.*"], r"'!fc\.\*', which takes out what no pattern before it freezes"),
        (["*", "!head.*"], r"'!head\.\*', which matches no parameter"),
    ],
)
def test_patterns_that_freeze_nothing_or_all(patterns: list[str], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        freeze(build_model(Model(name="resnet18"), 3, 12), patterns)


def test_all_but_the_head() -> None:
    network = build_model(Model(name="resnet18"), 3, 12)
    norms = freeze(network, ["*", "!fc.*"])
    assert [name for name, one in network.named_parameters() if one.requires_grad] == ["fc.weight", "fc.bias"]
    assert len(norms) == 20
    assert not any(network.get_submodule(name).training for name in norms)
    assert freeze(network, []) == []
    assert all(one.requires_grad for one in network.parameters())
