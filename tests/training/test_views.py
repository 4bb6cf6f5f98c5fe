"""Training on several views of an image: each counts as an image, or the network has a loss of its own for them."""

import json
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import nn

from formwork import own
from formwork.errors import ParamsError
from formwork.loading.augmentation.project import check_augmentation
from formwork.models.small_cnn import SmallCNN
from formwork.params import Params
from formwork.params.read import params_of
from formwork.training.geometry import check_params
from formwork.yaml import parse_yaml
from tests.training.conftest import make_params

PAGE = Path(__file__).parents[2] / "docs/contrastive.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.M | re.S)
LISTS = [parse_yaml(text.encode(), PAGE.name) for text in BLOCKS]


def metrics(out: Path) -> dict:
    return json.loads((out / "train/metrics.json").read_text())


class WithLoss(SmallCNN):
    def __init__(self, classes: int, give: Callable | None = None):
        super().__init__(classes)
        self.give = give or (lambda loss, outputs: (loss, outputs))

    def training_loss(self, views, classes):
        outputs = self(views[:, 0])
        return self.give(nn.functional.cross_entropy(outputs, classes), outputs)


@pytest.fixture
def simclr(monkeypatch: pytest.MonkeyPatch) -> None:
    """own/simclr, as the page has it."""
    (code,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    names: dict = {}
    exec(code, names)
    monkeypatch.setattr(own, "model", lambda name: names[name])


@pytest.mark.parametrize("use_ffcv", [True, False])
def test_simclr_learns_without_labels(run, simclr, use_ffcv):
    """Its features are learned from views; labels only measure them."""
    augment = {"train": [{"RandomCrop": {"padding": 2}}, {"GaussianBlur": {"kernel_size": 3, "p": 0.5}}], "views": 2}
    out = run(
        "out", model={"name": "own/simclr"}, augment=augment, data={"use_ffcv": use_ffcv}, trainer={"max_epochs": 6}
    )
    assert metrics(out)["val"]["accuracy"] > 0.9


def test_views_of_several_sizes_are_images_of_their_own(run):
    views = [[{"RandomCrop": {"padding": 2}}], {"times": 2, "resolution": 8, "operations": [{"RandomResizedCrop": {}}]}]
    runs = {"float32": {"dtype": "float32"}, "uint8": {"dtype": "uint8"}, "pytorch": {"use_ffcv": False}}
    found = {name: metrics(run(name, augment={"views": views}, data=data)) for name, data in runs.items()}
    assert found["float32"]["val"]["accuracy"] > 0.9
    assert found["float32"]["train"] == found["uint8"]["train"] == found["pytorch"]["train"]


def test_mixed_views_train(run):
    augment = {"train": [{"RandomCrop": {"padding": 2}}, {"Mixup": {"alpha": 0.2}}], "views": 2}
    assert metrics(run("out", augment=augment))["val"]["accuracy"] > 0.9


@pytest.mark.parametrize("lists", LISTS, ids=["digits", "SimCLR", "DINO"])
def test_lists_of_the_page_are_right(simclr, lists):
    params = Params.model_validate({"data": {"name": "x"}, "datasets": {"x": {"resolution": 224}}} | lists)
    assert check_augmentation(params) == []
    assert len(params.augment.sides(224)) == (10 if isinstance(params.augment.views, list) else 2)


@pytest.mark.parametrize(
    ("give", "message"),
    [
        (lambda loss, outputs: loss, "must give two tensors, loss and outputs, and gives Tensor"),
        (lambda loss, outputs: (loss, outputs[:, :1]), r"outputs \(2, 3\) for 2 images; it gives \(\) and \(2, 1\)"),
        (lambda loss, outputs: (loss.detach(), outputs), r"it gives \(\) without a gradient"),
        (lambda loss, outputs: outputs.view(7), "cannot be computed with images .*: RuntimeError: "),
    ],
)
def test_a_loss_that_cannot_be_used_is_refused_before_any_work(monkeypatch, give, message):
    monkeypatch.setattr(own, "model", lambda name: lambda classes: WithLoss(classes, give))
    datasets = {"colours": {"resolution": 12, "task": "classes"}}
    with pytest.raises(ParamsError, match=f"training_loss of model.name own/any .*{message}"):
        check_params(make_params(model={"name": "own/any"}, augment={"views": 2}, datasets=datasets))


class OfShares(WithLoss):
    def training_loss(self, views, shares):
        outputs = self(views[:, 0])
        return -(shares * outputs.log_softmax(1)).sum(1).mean(), outputs


MIXED = {"train": [{"Resize": {}}, {"Mixup": {}}], "views": 2}


def test_a_loss_is_tried_with_the_targets_that_the_list_makes(run, monkeypatch):
    monkeypatch.setattr(own, "model", lambda name: OfShares)
    assert metrics(run("out", model={"name": "own/any"}, augment=MIXED))["val"]["accuracy"] > 0.5
    datasets = {"colours": {"resolution": 12, "task": "classes"}}
    with pytest.raises(ParamsError, match=r"targets \(2,\) int64; augment\.views gives 2 views of an image: Runtime"):
        check_params(make_params(model={"name": "own/any"}, augment={"views": 2}, datasets=datasets))


@pytest.mark.parametrize("task", ["auto", "classes"])
def test_a_loss_that_cannot_take_so_many_views_is_refused_before_any_work(simclr, task):
    datasets = {"colours": {"resolution": 12, "task": task}}
    for views, refused in ((2, False), (3, True), ([[], {"operations": [], "resolution": 8}], True)):
        params = make_params(model={"name": "own/simclr"}, augment={"views": views}, datasets=datasets)
        with pytest.raises(ParamsError, match=r"augment\.views gives") if refused else nullcontext():
            check_params(params)


@pytest.mark.parametrize("task", ["auto", "multilabel"])
def test_a_loss_of_other_targets_than_classes_is_tried_with_them(monkeypatch, task):
    class OfNumbers(WithLoss):
        def training_loss(self, images, numbers):
            outputs = self(images)
            return nn.functional.binary_cross_entropy_with_logits(outputs, numbers), outputs

    monkeypatch.setattr(own, "model", lambda name: OfNumbers)
    check_params(make_params(model={"name": "own/any"}, datasets={"colours": {"resolution": 12, "task": task}}))


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (0, "from 1 to 100 views of an image are possible, and this asks for 0"),
        (10**25, f"asks for {10**25}"),
        ([], "this asks for 0"),
        ([{"times": 10**19, "operations": []}], f"asks for {10**19}"),
        ([[], {"operation": []}], "entry 2 of the list: operation is unknown. Did you mean 'operations'?"),
        ([[], {"times": 2}], "entry 2 of the list: operations is missing"),
        ([{"Resize": {}}, {"Resize": {}}], "entry 1 of the list is an operation, Resize: each view is a list"),
        ([[], {"operations": [], "resolution": 0}], "resolution should be greater than or equal to 1, and is 0"),
        ([[], {"operations": [], "times": "a"}], "times should be a valid integer, and is 'a'"),
        ([[], ["Resize"]], "entry 2 of the list: operations: an entry is one operation"),
        ([None, []], "entry 1 of the list must be a list of operations, or a mapping of operations, times"),
    ],
)
def test_a_wrong_entry_of_views_is_named(views, message):
    with pytest.raises(ParamsError) as refused:
        params_of({"data": {"name": "x"}, "augment": {"views": views}}, "params.yaml")
    assert "augment.views: " in str(refused.value)
    assert message in str(refused.value)


def test_a_loss_without_some_parameters_is_refused_where_several_devices_would_wait(monkeypatch):
    class Unused(WithLoss):
        def __init__(self, classes: int):
            super().__init__(classes)
            self.prototypes = nn.Parameter(torch.zeros(2))

    monkeypatch.setattr(own, "model", lambda name: Unused)

    def check(**trainer: object) -> None:
        datasets = {"colours": {"resolution": 12, "task": "classes"}}
        model = {"name": "own/any"}
        ffcv = {"distributed": True}
        check_params(make_params(model=model, augment={"views": 2}, datasets=datasets, trainer=trainer, ffcv=ffcv))

    with pytest.raises(ParamsError, match=r"depend on prototypes, one of 1 parameter without a gradient"):
        check(devices=2)
    check(devices=1)
    check(devices=2, strategy="ddp_find_unused_parameters_true")


def test_what_has_no_meaning_with_views_or_a_loss_of_ones_own_is_refused(monkeypatch):
    monkeypatch.setattr(own, "model", lambda name: WithLoss)
    datasets = {"colours": {"resolution": 12, "task": "classes"}}
    with pytest.raises(ParamsError, match=r"a loss of its own, which train\.label_smoothing does not change"):
        check_params(
            make_params(
                model={"name": "own/any"}, augment={"views": 2}, datasets=datasets, train={"label_smoothing": 0.1}
            )
        )
    for sections, message in (
        ({"augment": {"views": 2}, "model": {"name": "rcnn", "timesteps": 3}}, "asks for 3 timesteps of one"),
        ({"augment": {"views": [[{"Resize": {}}]]}}, "views is a list of one view"),
        ({"augment": {"views": [[], []], "train": []}}, "leave train empty"),
        (
            {
                "augment": {"views": [[], {"operations": [], "resolution": 8}]},
                "ffcv": {"resolution_schedule": [[2, 10]]},
            },
            "remove one of them",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            make_params(**sections)


def test_a_model_that_cannot_take_small_views_is_refused():
    views = [[{"Resize": {}}], {"operations": [{"Resize": {}}], "resolution": 1}]
    with pytest.raises(ParamsError, match=r"images of 1 x 1 pixels.*augment\.views"):
        check_params(make_params(augment={"views": views}, model={"name": "resnet18"}, data={"batch_size": 1}))


def test_own_losses_are_those_of_networks_that_have_one(run, monkeypatch):
    """The same loss as the usual one gives the same weights."""
    monkeypatch.setattr(own, "model", lambda name: WithLoss)
    plain, with_loss = (run(name.replace("/", "-"), model={"name": name}, augment={"views": 2 if "own" in name else 1})
                        for name in ("small_cnn", "own/any"))  # fmt: skip
    assert metrics(plain)["train"]["loss"] == pytest.approx(metrics(with_loss)["train"]["loss"], rel=1e-6)
