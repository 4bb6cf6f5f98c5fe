"""Images and batches that a model cannot be trained with are refused before any work, with the key to change."""

import pytest
import torch
from torch import nn

from formwork.errors import ParamsError
from formwork.images.manifest import read_manifest
from formwork.models.build import build_model
from formwork.models.rcnn import RecurrentCNN
from formwork.params import Model
from formwork.training.geometry import check_model, check_params
from tests.training.conftest import make_params

SMALL = {"resolution_schedule": [[1, 4]]}
ENOUGH = {"small_cnn": 5, "resnet18": 9, "rcnn": 5}
"""The smallest side in pixels at which each model can be trained with one image a batch."""


@pytest.mark.parametrize("name", ENOUGH)
@pytest.mark.parametrize("timesteps", [1, 3])
def test_batch_norm_of_one_value_is_refused(name: str, timesteps: int) -> None:
    if timesteps > 1 and name != "rcnn":
        pytest.skip("no recurrent model")
    model = build_model(Model(name=name), 3, ENOUGH[name])
    one = make_params(model={"name": name, "timesteps": timesteps}, data={"batch_size": 1})
    check_model(model, one, ENOUGH[name], 1)
    for side in (1, 2, ENOUGH[name] - 1):
        check_model(model, make_params(model={"name": name}, data={"batch_size": 2}), side, 1)
        with pytest.raises(ParamsError) as refused:
            check_model(model, one, side, 1)
        assert str(refused.value) == (
            f"model.name {name} cannot be trained on images of {side} x {side} pixels with one image a batch: batch "
            "norm needs more than one value of each channel. Set data.batch_size to 2 or more (it is 1), or make the "
            f"images larger: datasets.{one.data.name}.resolution."
        )


def test_a_batch_is_shared_by_devices() -> None:
    model = build_model(Model(name="resnet18"), 3, 8)
    with pytest.raises(
        ParamsError, match=r"one image a device \(4 devices\).* data.batch_size to 8 or more \(it is 4\)"
    ):
        check_model(model, make_params(data={"batch_size": 4}, model={"name": "resnet18"}), 8, 4)
    check_model(model, make_params(data={"batch_size": 8}, model={"name": "resnet18"}), 8, 4)


def test_the_sizes_of_a_schedule_are_tried() -> None:
    sections = {"data": {"batch_size": 1}, "model": {"name": "resnet18"}, "ffcv": {"resolution_schedule": [[2, 32]]}}
    model = build_model(Model(name="resnet18"), 3, 224)  # of large images: 32 pixels become one
    with pytest.raises(ParamsError, match=r"32 x 32 pixels .*: ffcv\.resolution_schedule\."):
        check_model(model, make_params(**sections), 224, 1)


def test_what_else_a_model_cannot_take_is_told() -> None:
    class Valid(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(3, 4, 7), nn.Flatten(), nn.Linear(4, 2))

    check_model(Valid(), make_params(), 7, 1)
    with pytest.raises(
        ParamsError, match=r"pixels: Calculated padded input size.*\. Make them larger \(datasets\."
    ) as refused:
        check_model(Valid(), make_params(), 6, 1)
    assert "\n" not in str(refused.value)


def test_params_alone_are_enough() -> None:
    sections = {"data": {"batch_size": 1, "name": "x"}, "model": {"name": "resnet18"}}
    with pytest.raises(ParamsError, match=r"^model\.name resnet18 cannot be trained on images of 8 x 8 pixels"):
        check_params(make_params(**sections, datasets={"x": {"resolution": 8}}))
    check_params(make_params(**sections, datasets={"x": {"resolution": 16}}))
    check_params(make_params(**sections))  # auto


def test_a_trial_changes_neither_the_model_nor_what_is_drawn_next() -> None:
    model = build_model(Model(name="resnet18"), 3, 32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    check_model(model, make_params(), 32, 1)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_train_refuses_before_any_work(run) -> None:
    small = {"resolution_schedule": [[1, 12], [2, 8]]}
    with pytest.raises(
        ParamsError, match=r"^model\.name resnet18 cannot be trained on images of 8 x 8 pixels with one"
    ):
        run("out", data={"batch_size": 1}, model={"name": "resnet18"}, ffcv=small)


def test_one_batch_an_epoch_trains(run, folders) -> None:
    images = len(read_manifest(folders.manifest("train")))
    run("all", data={"batch_size": images, "num_workers": 0}, trainer={"max_epochs": 1})


def test_a_last_batch_of_one_image_is_dropped(run, folders) -> None:
    """Such a batch could not be normalised where the model leaves one value of each channel."""
    images = len(read_manifest(folders.manifest("train")))
    run("odd", data={"batch_size": images - 1, "num_workers": 0}, trainer={"max_epochs": 1}, ffcv=SMALL)


def test_time_needs_a_network_that_says_it_has_it() -> None:
    """Of the user's own networks params.yaml does not know it."""
    time = make_params(model={"name": "rcnn", "pattern": "10"})
    with pytest.raises(ParamsError, match=r"asks for 2 timesteps.*rcnn is not recurrent.*`recurrent = True`"):
        check_model(build_model(Model(), 3, 12), time, 12, 1)

    class Once(RecurrentCNN):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return super().forward(images)[:, -1]

    with pytest.raises(ParamsError, match=r"for 2 timesteps of 2 images it gives \(2, 3\) and not \(2, 2, K\)"):
        check_model(Once(3), time, 12, 1)
    with pytest.raises(ParamsError, match=r"for 1 timesteps of 2 images it gives \(2, 3\)"):
        check_model(Once(3), make_params(), 12, 1)


def test_parameters_that_several_devices_would_wait_for_are_told() -> None:
    """rcnn has lateral weights that a single timestep does not use."""

    def check(frozen: bool = False, trainer: dict | None = None, **model: object) -> None:
        params = make_params(
            model={"name": "rcnn", **model}, trainer={"devices": 2, **(trainer or {})}, ffcv={"distributed": True}
        )
        network = build_model(params.model, 3, 12)
        for name, parameter in network.named_parameters():
            parameter.requires_grad = not (frozen and "lateral" in name)
        check_model(network, params, 12, params.trainer.devices)
        assert all(parameter.grad is None for parameter in network.parameters())

    with pytest.raises(ParamsError, match=r"depend on layers\.0\.lateral\.weight, one of 3 parameters without a"):
        check()
    check(trainer={"strategy": "ddp_find_unused_parameters_true"})
    check(trainer={"devices": 1})
    check(frozen=True)
    check(pattern="10", loss_steps=[1])
