"""A list that cannot be used is refused when it is made, in one line that names key, operation, argument and value."""

import inspect
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from formwork import own
from formwork.errors import AugmentationError, FormworkError
from formwork.loading.augmentation import NATIVE
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.project import check_augmentation
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.params import Params
from tests.loading.conftest import CLASSES, make_config

SIZE = 16
PYTHONS_WORDS = re.compile(r"not supported between|object has no|NoneType|__init__|keyword argument|Traceback|unpack")
BY_TORCHVISION = {
    name: found
    for name, found in vars(v2).items()
    if inspect.isclass(found) and issubclass(found, v2.Transform) and name not in NATIVE
}
NEEDED: dict[str, dict] = {
    "FiveCrop": {"size": 8},
    "JPEG": {"quality": [5, 90]},
    "Normalize": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "Pad": {"padding": 4},
    "RandomResize": {"min_size": 8, "max_size": 20},
    "RandomShortestSize": {"min_size": 8},
    "ScaleJitter": {"target_size": [SIZE, SIZE]},
    "SetClampingMode": {"clamping_mode": "hard"},
    "ConvertBoundingBoxFormat": {"format": "XYXY"},
    "TenCrop": {"size": 8},
    "ToDtype": {"dtype": "float32"},
    "UniformTemporalSubsample": {"num_samples": 2},
}
"""Arguments of torchvision's classes that have no default."""


def refusal(operations: list[dict], size: int = SIZE) -> str | None:
    """The line by which a list is refused; None where it is not."""
    try:
        Augmentation(operations, size, 0, "augment.train")
        return None
    except AugmentationError as error:
        line = str(error)
    assert line.startswith("augment.train: ")
    assert "\n" not in line
    assert not PYTHONS_WORDS.search(line), line
    return line.removeprefix("augment.train: ")


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"ConvertImageDtype": {"dtype": "float32"}}, "the loader does that itself"),
        ({"Normalize": NEEDED["Normalize"]}, "the loader does that itself"),
        ({"ToTensor": {}}, "the loader does that itself"),
        ({"Pad": {"padding": 4}}, "it makes 24 x 24 of an image of 16 x 16 pixels"),
        ({"RandomZoomOut": {"p": 0.01}}, "of an image of 16 x 16 pixels"),
        ({"RandomRotation": {"degrees": 45, "expand": True}}, "expand must be false, as all images"),
        ({"RandomResize": {"min_size": 15, "max_size": 18}}, "of an image of 16 x 16 pixels"),
        ({"FiveCrop": {"size": 8}}, "it gives 5 images in place of one"),
        ({"CutMix": {"num_classes": 10}}, "it has no argument 'num_classes' (known: alpha, p)."),
        ({"MixUp": {"num_classes": 10}}, "it mixes a whole batch. Use Mixup"),
        ({"Compose": {"transforms": []}}, "entries of their own"),
        ({"Lambda": {"lambd": "lambda x: x"}}, "params.yaml cannot hold its argument lambd"),
        ({"RandomIoUCrop": {}}, "it cannot change an image of 16 x 16 pixels: RandomIoUCrop() requires"),
        ({"ElasticTransform": {}}, "it cannot change an image of 16 x 16 pixels: "),
        ({"ElasticTransform": {"alpha": 4}}, "it cannot change an image of 16 x 16 pixels with {'alpha': 4}: "),
        ({"JPEG": {"quality": "4"}}, "quality must be a whole number or a list of whole numbers, and is '4'."),
        ({"JPEG": {"quality": 4, "q": 1}}, "it has no argument 'q' (known: quality)."),
        ({"RandomPosterize": {"bits": "4"}}, "bits must be a whole number from 0 to 8, and is '4'."),
        ({"RandomAffine": {}}, "its argument degrees is missing: degrees must be a number or a list"),
        ({"RandomAffine": {"degrees": [1, "a"]}}, "degrees must be [low, high], two numbers from -10000 to 10000, and"),
        ({"RandomAffine": {"degrees": 9, "shear": [0, 1, 9, 5]}}, "shear must be [low, high], two numbers from"),
        ({"ElasticTransform": {"alpha": [1, "a"]}}, "alpha must be a number or a list of numbers, and is [1, 'a']."),
        ({"RandomAffine": {"degrees": 3, "interpolation": "cubic"}}, "interpolation must be one of nearest, "),
        ({"RandomPhotometricDistort": {"p": 7}}, "p must be a number from 0 to 1, and is 7."),
        ({"RandomRotation": {"degrees": 10**400}}, "degrees must be a number from 0 to 10000, and is 1000"),
        ({"Mixup": {"alpha": 10**400}}, "alpha must be a number from "),
        ({"GaussianNoise": {"sigma": float("nan")}}, "sigma must be finite, and is nan."),
        (
            {"RandomResizedCrop": {"size": 224}},
            "no argument 'size' (the side of the training images is datasets.<name>.resolution).",
        ),
    ],
)
def test_what_gives_no_training_image_is_refused(operation: dict, message: str) -> None:
    (name,) = operation
    line = refusal([operation])
    assert line is not None
    assert line.startswith(f"{name}: ")
    assert message in line


@pytest.mark.parametrize("name", sorted(BY_TORCHVISION))
def test_each_class_of_torchvision_works_on_all_images_or_is_refused(split: SplitFiles, name: str) -> None:
    """JPEG and the like work with the PyTorch loader; no class fails in a batch."""
    operations = [{"Resize": {}}, {name: NEEDED.get(name, {})}]
    if refusal(operations, 20) is None:
        config = make_config(operations, num_workers=0, dtype="uint8")
        for images, _ in PyTorchDataLoader(split, config):
            assert images.shape[1:] == (3, 20, 20)
            assert images.dtype == torch.uint8
            assert type(images) is torch.Tensor


VALUES = ["x", "0.5", [], None, True, [[1]], float("nan"), -1, 1e9, {}, [1, "a"], [2, 1], [1, 2, 3], [float("inf")] * 2]


@pytest.mark.parametrize("name", sorted(NATIVE))
def test_wrong_values_of_our_own_operations_are_named(name: str) -> None:
    parameters = inspect.signature(NATIVE[name]).parameters
    needed = {argument: 1 for argument, one in parameters.items() if one.default is one.empty}
    for argument in parameters:
        for value in VALUES:
            line = refusal([{name: needed | {argument: value}}])
            if line is None:
                unset = value is None and argument in ("center", "translate", "scale", "shear", "fill")
                assert unset or (argument, value) in [
                    ("fill", [1, 2, 3]),
                    ("value", [1, 2, 3]),
                    ("center", [2, 1]),
                    ("mean", -1),
                    ("clip", True),
                    ("all_ops", True),
                    ("chain_depth", -1),
                ]
            else:
                assert line.startswith(f"{name}: {argument} must be ")
                assert line.endswith(f"is {value!r}.")


@pytest.mark.parametrize("name", ["ElasticTransform", "JPEG", "RandomZoomOut"])
def test_wrong_values_of_torchvisions_operations_are_told_in_our_words(name: str) -> None:
    for argument in inspect.signature(BY_TORCHVISION[name]).parameters:
        for value in VALUES:
            refusal([{name: NEEDED.get(name, {}) | {argument: value}}])  # whose checks these are


def test_extreme_arguments_that_are_allowed_give_images(split: SplitFiles) -> None:
    operations = [
        {"RandomResizedCrop": {"scale": [0.0001, 1], "ratio": [0.0001, 10000]}},
        {"RandomCrop": {"padding": 16384}},
        {"GaussianBlur": {"kernel_size": 999, "sigma": [0.0001, 10000]}},
        {"RandomRotation": {"degrees": 10000, "center": [16384, -16384], "interpolation": "bilinear"}},
        {"RandomAffine": {"degrees": 0, "translate": [1, 1], "scale": [0.0001, 10000], "shear": [89, 91, -90, 90]}},
        {"RandomPerspective": {"distortion_scale": 1, "p": 1}},
        {"Cutout": {"crop_size": 16384}},
        {"RandomErasing": {"p": 1, "scale": [0.0001, 1], "ratio": [0.0001, 10000]}},
        {"Mixup": {"alpha": 0.001, "p": 0.5}},
        {"CutMix": {"alpha": 0.001, "p": 0.5}},
    ]
    config = make_config(operations, dtype="uint8", num_workers=0, class_names=CLASSES, batch_size=35)
    for ours, theirs in zip(FFCVDataLoader(split, config), PyTorchDataLoader(split, config), strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_a_trial_leaves_all_random_generators_as_they_were() -> None:
    def draws() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    expected = draws()
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    Augmentation([{"JPEG": {"quality": [5, 90]}}, {"ElasticTransform": {"sigma": 1}}], SIZE, 0)
    assert draws() == expected


# --- The list of a project ------------------------------------------------------------------------


def params(**sections: dict) -> Params:
    return Params.model_validate({"data": {"name": "photos"}, **sections})


def test_the_key_is_that_of_the_list_which_is_used() -> None:
    pad = [{"Pad": {"padding": 4}}]
    of_dataset = {"photos": {"resolution": 8, "augment": {"val": pad}}}
    for sections, key in [
        ({"augment": {"train": pad}}, "augment.train: Pad"),
        ({"datasets": of_dataset}, "datasets.photos.augment.val: Pad"),
        ({"datasets": of_dataset, "augment": {"val": [{"Rezise": {}}]}}, "augment.val: there is no operation"),
        ({"augment": {"val": [{"Mixup": {}}]}}, "augment.val: Mixup is for training alone"),
        ({"augment": {"val": [{"CutMix": {}}]}}, "augment.val: CutMix is for training alone"),
    ]:
        with pytest.raises(AugmentationError, match=f"^{key}"):
            check_augmentation(params(**sections))
    check_augmentation(params(datasets=of_dataset, augment={"val": [{"Resize": {}}]}))


def test_each_size_of_a_schedule_is_tried() -> None:
    jitter = {"train": [{"ScaleJitter": {"target_size": [24, 24], "scale_range": [1.0, 1.0]}}]}
    dataset = {"photos": {"resolution": 24, "augment": jitter}}
    check_augmentation(params(datasets=dataset))
    with pytest.raises(AugmentationError, match="it makes 24 x 24 of an image of 16 x 16 pixels"):
        check_augmentation(params(datasets=dataset, ffcv={"resolution_schedule": [[1, 16], [3, 24]]}))


def test_a_list_that_suits_some_sizes_waits_until_an_automatic_size_is_known() -> None:
    elastic = {"train": [{"ElasticTransform": {}}]}  # needs more than 20 pixels
    check_augmentation(params(datasets={"photos": {"resolution": "auto", "augment": elastic}}))
    with pytest.raises(AugmentationError, match="of 12 x 12 pixels"):
        check_augmentation(params(datasets={"photos": {"resolution": 12, "augment": elastic}}))


# --- The user's own operations --------------------------------------------------------------------

OWN = """import numpy as np
import torch
from formwork.loading.augmentation.base import GeometricOperation, PixelOperation, check_probability

class Own(PixelOperation):
    kernel = staticmethod(lambda images, values: None)
    def __init__(self, p=0.5):
        {init}
    def draw(self, draw, resolution):
        {draw}
    def function(self, image, values):
        {function}

class Shift(GeometricOperation):
    def apply(self, plan, heights, widths, resolution, draw):
        {apply}

def plain(image):
    return {plain}

OPERATIONS = {{"Own": Own, "Shift": Shift, "Plain": plain}}
"""
SOUND = {
    "init": "self.p = check_probability(p)",
    "draw": "return (draw.uniform()[:, :1] < self.p).astype(np.int64)",
    "function": "return 255 - image",
    "apply": "plan.flip[:] = True",
    "plain": "image",
}


@pytest.fixture
def write_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """write_own(draw="..."): src/own/operations.py with these lines in place of sound ones."""

    def write(**lines: str) -> Path:
        path = tmp_path / "src/own/operations.py"
        path.parent.mkdir(parents=True)
        (path.parent / "__init__.py").touch()
        path.write_text(OWN.format(**(SOUND | lines)))
        for name in ("own", "own.operations"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        own.use(tmp_path)
        monkeypatch.setitem(sys.modules, "own", sys.modules["own"])
        return path

    yield write
    sys.modules.pop("own.operations", None)


def test_sound_operations_of_ones_own_are_taken(write_own: Callable[..., Path]) -> None:
    write_own()
    assert refusal([{"Shift": {}}, {"Own": {"p": 1}}, {"Plain": {}}]) is None
    assert refusal([{"Own": {"p": 2}}]) == "Own: p must be a number from 0 to 1, and is 2."
    assert refusal([{"Own": {"q": 2}}]) == "Own: it has no argument 'q' (known: p)."


@pytest.mark.parametrize(
    ("lines", "operation", "message"),
    [
        ({"init": "self.p = p.x"}, "Own", "{path}, line 8: AttributeError: 'float' object has no attribute 'x'."),
        ({"draw": "return 1 / 0"}, "Own", "{path}, line 10: ZeroDivisionError: division by zero."),
        (
            {"draw": "return draw.uniform()[:, 0]"},
            "Own",
            "its draw must give an array (16, P) for 16 images, and gives",
        ),
        ({"function": "return image[0]"}, "Own", "it makes 16 x 16 of an image of 16 x 16 pixels"),
        ({"function": "return image / 255"}, "Own", "it gives float32 values, and a list works on 8-bit ones"),
        ({"function": "return image.numpy()"}, "Own", "it gives ndarray in place of a tensor."),
        ({"function": "return None"}, "Own", "it gives NoneType in place of a tensor."),
        ({"function": "raise KeyError(3)"}, "Own", "{path}, line 12: KeyError: 3."),
        ({"function": "return torch.ones(3) @ image"}, "Own", "{path}, line 12: RuntimeError: "),
        ({"apply": "plan.window[:, 2] += 1"}, "Shift", "it gives plan.window [0, 0, 2, 1] for an image 1 pixels wide"),
        ({"apply": "plan.box[:] = np.nan"}, "Shift", "it gives a plan.box that is not left < right"),
        ({"apply": "plan.box = 2.0 * plan.box.astype(float)"}, "Shift", "it must change plan.box in place"),
        ({"apply": "plan.fip"}, "Shift", "{path}, line 16: AttributeError: "),
        ({"plain": "3"}, "Plain", "it gives int in place of a tensor."),
        ({"plain": "[image, image]"}, "Plain", "it gives 2 images in place of one."),
        ({"plain": "{}[7]"}, "Plain", "{path}, line 19: KeyError: 7."),
    ],
)
def test_a_mistake_in_ones_own_code_is_named_with_its_place(
    write_own: Callable[..., Path], lines: dict[str, str], operation: str, message: str
) -> None:
    path = write_own(**lines)
    with pytest.raises(AugmentationError) as refused:
        Augmentation([{operation: {}}], SIZE, 0, "augment.train")
    assert str(refused.value).startswith(f"augment.train: {operation}: {message.format(path=path)}")
    assert "\n" not in str(refused.value)


def test_a_value_that_is_drawn_seldom_is_tried(write_own: Callable[..., Path]) -> None:
    """The operation fails for one in a billion draws, and the trial takes the extremes of all."""
    write_own(
        draw="return np.floor(draw.uniform()[:, :1] * 1e9).astype(np.int64)", function="return image // values[0]"
    )
    with pytest.raises(AugmentationError, match="Own"):
        Augmentation([{"Own": {}}], SIZE, 0)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("loader", [FFCVDataLoader, PyTorchDataLoader])
def test_what_fails_on_an_image_only_is_told_with_it(
    split: SplitFiles, write_own: Callable[..., Path], loader: type, workers: int
) -> None:
    path = write_own(
        draw="self.kernel = lambda images, values: [7][len(images) and max(values.ravel())]\n"
        "        return draw.ids[:, None] // 33",
        function="return image if values[0] < 1 else {}[values[0]]",
    )
    config = make_config([{"Own": {}}], num_workers=workers)
    with pytest.raises(FormworkError) as failed:
        list(loader(split, config))
    message = str(failed.value)
    assert "augment.train: Own: " in message
    assert f"{path}, line 1" in message
    assert "\n" not in message
    if loader is PyTorchDataLoader:
        image = (
            split.manifest.path.parent / split.manifest.paths[33]
        )  # train/<class>/<file>, in the tree as in the dataset
        assert message.startswith(f"Sample 33, {image}: augment.train: ")
