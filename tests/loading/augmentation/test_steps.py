"""A list keeps its order, operations can stand in it again, and any can be in Python."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from formwork import own
from formwork.errors import AugmentationError, FormworkError
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.loading.transforms import carry_out
from tests.loading.conftest import TRAIN, make_config
from tests.loading.test_loaders import epoch, same

FLIP, SHIFT = {"RandomHorizontalFlip": {"p": 1}}, {"RandomCrop": {"padding": 3, "fill": 255}}
SOLARIZE, CUT = {"Solarize": {"threshold": 100}}, {"Cutout": {"crop_size": 5}}


def speckled(image: torch.Tensor, strength: int = 20) -> torch.Tensor:
    """With noise from three generators: an operation of the user's."""
    noise = torch.randint(0, strength, image.shape) + random.randrange(strength) + np.random.randint(strength)  # noqa: NPY002
    return (image + noise).clamp(0, 255).byte()


class Darker:
    """An operation of the user's that is a class."""

    def __init__(self, by: int = 10):
        self.by = by

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return image // self.by


OWN = {"Speckled": speckled, "Darker": Darker, "Failing": lambda image: image.nonsense}
MIXED = [
    *TRAIN,
    SOLARIZE,
    {"Speckled": {"strength": 9}},
    FLIP,
    {"JPEG": {"quality": [20, 60]}},
    SHIFT,
    {"Darker": {"by": 2}},
    CUT,
]


@pytest.fixture
def own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "operations", lambda: OWN)


def changed(operations: list, image: np.ndarray) -> np.ndarray:
    """(S, S, 3) uint8 of one, of the same size."""
    augmentation = Augmentation([{"Resize": {}}, *operations], len(image), 0)
    plan = augmentation.plan(0, np.array([4]), *np.array([image.shape[:2]]).T)
    return carry_out(augmentation, plan, 0, Image.fromarray(image)).permute(1, 2, 0).numpy()


def test_operations_are_done_in_the_order_of_the_list():
    image = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    flipped_last, shifted_last = changed([SOLARIZE, CUT, FLIP], image), changed([CUT, SHIFT], image)
    assert np.array_equal(flipped_last, changed([SOLARIZE, CUT], image)[:, ::-1])
    assert np.array_equal(changed([SOLARIZE, FLIP], image), changed([FLIP, SOLARIZE], image))
    alone = changed([SHIFT], image)
    outside = (alone == 255).all(axis=2)
    assert outside.any()
    assert (shifted_last[outside] == 255).all()  # shifted after it was cut, and so not cut there
    assert not (changed([SHIFT, SOLARIZE], image)[outside] == 255).any()


def test_an_operation_can_stand_in_a_list_again():
    image = np.full((24, 24, 3), 200, np.uint8)
    holes = [(changed(operations, image) == 0).sum() for operations in ([CUT], [CUT, CUT], [CUT, CUT, CUT])]
    assert holes[0] < holes[1] < holes[2]  # each has numbers of its own
    assert np.array_equal(changed([FLIP, FLIP], image), image)
    assert not np.array_equal(changed([SHIFT, SHIFT], image), changed([SHIFT], image))


@pytest.mark.parametrize("changes", [{"dtype": "uint8"}, {"num_workers": 0, "os_cache": False}, {"batch_size": 7}])
def test_both_loaders_give_the_same_batches(split, own_operations, changes):
    options = {"order": "random"} | changes
    first, second = (loader(split, make_config(MIXED, **options)) for loader in (FFCVDataLoader, PyTorchDataLoader))
    epochs = [[epoch(loader) for _ in range(2)] for loader in (first, second)]
    assert same(epochs[0][0], epochs[1][0])
    assert same(epochs[0][1], epochs[1][1])
    assert not same(epochs[0][0], epochs[0][1])
    if "dtype" not in changes:
        reference = epoch(FFCVDataLoader(split, make_config(MIXED, order="random")))
        assert same(epochs[0][0], reference)


def test_an_epoch_goes_on_after_any_batch(split, own_operations):
    options = make_config(MIXED, order="random")
    whole = list(FFCVDataLoader(split, options))
    first = FFCVDataLoader(split, options)
    batches = iter(first)
    next(batches)
    state = first.state_dict()
    batches.close()
    other = FFCVDataLoader(split, options)
    other.load_state_dict(state)
    rest = list(other)
    assert len(rest) == len(whole) - 1
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(rest, whole[1:], strict=True))


def test_the_generators_of_this_process_stay_as_they_were(own_operations):
    def numbers() -> tuple:
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    expected = numbers()
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    image = np.full((8, 8, 3), 90, np.uint8)
    assert np.array_equal(changed([{"Speckled": {}}], image), changed([{"Speckled": {}}], image))
    assert numbers() == expected


@pytest.mark.parametrize("loader", [FFCVDataLoader, PyTorchDataLoader])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_fault_in_a_batch_names_the_operation(
    split, monkeypatch: pytest.MonkeyPatch, loader: Callable, num_workers: int
) -> None:
    def rarely(image: torch.Tensor) -> torch.Tensor:
        return image if image.float().mean() > 100 or image.float().std() < 30 else image[:, 1:]

    monkeypatch.setattr(own, "operations", lambda: {"Rarely": rarely})
    monkeypatch.setattr("formwork.loading.augmentation.trial.SECONDS", 0)
    batches = loader(split, make_config([*TRAIN, {"Rarely": {}}], num_workers=num_workers))
    with pytest.raises(AugmentationError, match=r"augment\.train: Rarely: it makes 19 x 20 of an image of 20 x 20"):
        list(batches)


def test_wrong_functions_are_refused(own_operations):
    for operation, message in (
        ({"Speckled": {"strengths": 3}}, r"Speckled: it has no argument 'strengths' \(did you mean 'strength'\?\)"),
        ({"Failing": {}}, "Failing: it cannot change an image of 16 x 16 pixels"),
    ):
        with pytest.raises(FormworkError, match=message):
            Augmentation([operation], 16, 0, "augment.train")
