"""Operations in the batches of both loaders: the same images and labels, whatever the batch size, workers and ranks."""

import os
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import formwork
from formwork.errors import AugmentationError
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.base import UNIT
from formwork.loading.augmentation.mixup import with_partners
from formwork.loading.base import SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.order import BatchSampler
from formwork.loading.pytorch_loader import PyTorchDataLoader
from tests.loading.conftest import CLASSES, TRAIN, make_config
from tests.loading.test_loaders import epoch, same
from tests.processes import TIMEOUT

pytestmark = pytest.mark.plain

PIXEL = [
    *TRAIN,
    {"ColorJitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}},
    {"GaussianBlur": {"kernel_size": 3, "p": 0.5}},
    {"Cutout": {"crop_size": 4}},
]
MIXED = [*PIXEL, {"Mixup": {"alpha": 0.8, "p": 0.3}}, {"CutMix": {"p": 0.5}}]
MIXINGS = {"pixel": PIXEL, "mixed": MIXED, "mixup": [*TRAIN, {"Mixup": {}}], "cutmix": [*TRAIN, {"CutMix": {}}]}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
@pytest.mark.parametrize("operations", MIXINGS.values(), ids=MIXINGS)
def test_both_loaders_give_the_same_batches(split, operations, dtype):
    options = make_config(operations, dtype=dtype, class_names=CLASSES, order="random")
    ffcv, pytorch = FFCVDataLoader(split, options), PyTorchDataLoader(split, options)
    first, second = ([epoch(loader) for _ in range(2)] for loader in (ffcv, pytorch))
    assert same(first[0], second[0])
    assert same(first[1], second[1])
    assert not same(first[0], first[1])


@pytest.mark.parametrize("loader", [FFCVDataLoader, PyTorchDataLoader])
@pytest.mark.parametrize("changes", [{"batch_size": 7}, {"batch_size": 1}, {"num_workers": 1}, {"batches_ahead": 1}])
def test_nothing_changes_with_batch_size_or_workers(split, loader, changes):
    reference = epoch(loader(split, make_config(MIXED, class_names=CLASSES, order="random")))
    assert same(epoch(loader(split, make_config(MIXED, class_names=CLASSES, order="random", **changes))), reference)


@pytest.mark.parametrize("batch_size", [16, 6])
def test_two_ranks_mix_what_one_process_mixes(split, batch_size):
    options = {"class_names": CLASSES, "order": "random", "batch_size": batch_size}
    whole = list(FFCVDataLoader(split, make_config(MIXED, **options)))
    ranks = [FFCVDataLoader(split, make_config(MIXED, **options, rank=rank, world_size=2)) for rank in range(2)]
    for (images, labels), *parts in zip(whole, *ranks, strict=True):
        assert torch.equal(torch.cat([part for part, _ in parts]), images)
        assert torch.equal(torch.cat([part for _, part in parts]), labels)


def test_mixed_images_and_labels_are_the_same_blend(split):
    plain = FFCVDataLoader(split, make_config(TRAIN, dtype="uint8", order="random", drop_last=True))
    mixed = FFCVDataLoader(
        split,
        make_config(
            [*TRAIN, {"Mixup": {"alpha": 0.8}}], dtype="uint8", order="random", drop_last=True, class_names=CLASSES
        ),
    )
    augmentation = mixed.config.augmentation
    (pixels, numbers), (found, labels) = epoch(plain), epoch(mixed)
    ids = np.concatenate([batch.draws for batch in mixed.config.sampler(mixed.beton.storage_order, mixed.targets)])
    share = augmentation.mix(0, ids).shares
    assert share.min() < 0.1
    assert share.max() > 0.9
    partner = np.arange(len(ids)) ^ 1
    weights = torch.from_numpy(share).view(-1, 1, 1, 1)
    assert (pixels * weights + pixels[partner] * (1 - weights) - found.double()).abs().max() <= 0.5 + 255 / UNIT
    one_hot = torch.nn.functional.one_hot(numbers, 3)
    weights = torch.from_numpy(share).view(-1, 1)
    assert torch.allclose((one_hot * weights + one_hot[partner] * (1 - weights)).float(), labels)
    assert torch.allclose(labels.sum(dim=1), torch.ones(len(ids)))


@pytest.mark.parametrize("loader", [FFCVDataLoader, PyTorchDataLoader])
def test_a_box_shows_the_partner_and_labels_have_its_share(split, loader):
    """Of images of the sizes that a schedule gives them."""
    changes = {"dtype": "uint8", "order": "random", "drop_last": True, "resolution_schedule": ((1, 9),)}
    plain = FFCVDataLoader(split, make_config(TRAIN, **changes))
    cut = loader(split, make_config([*TRAIN, {"CutMix": {}}], class_names=CLASSES, **changes))
    for number, side in enumerate((20, 9)):
        cut.sampler.set_epoch(number)
        (images, classes), (found, labels) = epoch(plain), epoch(cut)
        sampler = cut.config.sampler(plain.beton.storage_order, plain.targets)
        sampler.set_epoch(number)
        ids = np.concatenate([batch.draws for batch in sampler])
        values, _ = cut.config.views_at(number).mix(number, ids)
        expected = images.clone()
        one_hot = torch.nn.functional.one_hot(classes, 3).double()
        targets = one_hot.clone()
        for i, (share, top, left, bottom, right) in enumerate(values.tolist()):
            assert share == 0
            assert 0 <= top <= bottom <= side
            assert 0 <= left <= right <= side
            expected[i, :, top:bottom, left:right] = images[i ^ 1, :, top:bottom, left:right]
            area = (bottom - top) * (right - left) / side**2
            targets[i] = one_hot[i] * (1 - area) + one_hot[i ^ 1] * area
        assert torch.equal(found, expected)
        assert not torch.equal(found, images)
        assert torch.allclose(labels.double(), targets, atol=1e-7)
        areas = (values[:, 3] - values[:, 1]) * (values[:, 4] - values[:, 2]) / side**2
        assert areas.min() < 0.1
        assert areas.max() > 0.6


@pytest.mark.parametrize(("alpha", "side"), [(1.0, 32), (0.3, 224)])
def test_boxes_are_those_of_torchvision(alpha, side):
    """As their means and quantiles: the random numbers are others."""
    from torchvision.transforms.v2 import CutMix

    count = 4000
    ours = Augmentation([{"CutMix": {"alpha": alpha}}], side, 0).mix(0, np.arange(count))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = [CutMix(alpha=alpha, num_classes=2).make_params([torch.empty(2, 3, side, side)]) for _ in range(count)]
    left, top, right, bottom = np.array([one["box"] for one in made]).T
    theirs = np.stack([top, left, bottom, right], axis=1)
    sizes = [boxes[:, 2:] - boxes[:, :2] for boxes in (ours.values[:, 1:], theirs)]
    assert np.abs(ours.values[:, 1:].mean(axis=0) - theirs.mean(axis=0)).max() < 0.02 * side
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        one, other = (np.quantile(size / side, share, axis=0) for size in sizes)
        assert np.abs(one - other).max() < 0.05
    assert abs(ours.shares.mean() - np.mean([one["lam_adjusted"] for one in made])) < 0.02
    assert np.array_equal(ours.shares, 1 - sizes[0].prod(axis=1) / side**2)


def test_each_image_is_mixed_by_one_operation_or_none():
    ids = np.arange(20000)
    mixing = [{"CutMix": {"alpha": 100, "p": 0.5}}, {"Mixup": {"alpha": 0.8, "p": 0.3}}]
    values, shares = Augmentation(mixing, 20, 0).mix(0, ids)
    whole, box = (values[:, 1:] == [0, 0, 20, 20]).all(axis=1), (values[:, 1] < values[:, 3]) & (values[:, 0] == 0)
    assert abs((whole & (values[:, 0] > 0)).mean() - 0.3) < 0.02
    assert abs((box & ~whole).mean() - 0.5) < 0.02
    assert (shares[~whole & ~box] == 1).all()
    assert abs((shares == 1).mean() - 0.2) < 0.02
    again = Augmentation(mixing[::-1], 20, 0)
    assert np.array_equal(again.mix(0, ids).values, values)  # whichever is named first
    assert np.array_equal(again.mix(0, ids[77:99]).values, values[77:99])
    assert not np.array_equal(again.mix(1, ids).values, values)
    never = Augmentation([{"CutMix": {"p": 0.0}}], 20, 0).mix(0, ids)
    assert (never.shares == 1).all()


def test_partners_are_neighbours_and_the_last_of_an_odd_number_is_alone():
    batches = list(BatchSampler(np.arange(11), "random", 0, 3, drop_last=False))
    ids, partners = (np.concatenate([getattr(b, name) for b in batches]) for name in ("draws", "partners"))
    assert partners.tolist() == ids[[1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 10]].tolist()
    needed, places = with_partners(batches[1].draws, batches[1].partners)
    assert needed[:3].tolist() == batches[1].draws.tolist()
    assert len(needed) == 4
    assert needed[places].tolist() == batches[1].partners.tolist()


def test_images_grow_with_operations_in_the_list(split):
    options = make_config([*PIXEL, {"Mixup": {}}], class_names=CLASSES, resolution_schedule=((1, 9),))
    for loader in (FFCVDataLoader(split, options), PyTorchDataLoader(split, options)):
        assert [epoch(loader)[0].shape[-1] for _ in range(2)] == [20, 9]


def test_a_fill_colour_is_shown_outside_the_image(split):
    options = make_config([{"Resize": {}}, {"RandomTranslate": {"padding": 6, "fill": [1, 2, 3]}}], dtype="uint8")
    ours, theirs = epoch(FFCVDataLoader(split, options)), epoch(PyTorchDataLoader(split, options))
    assert same(ours, theirs)
    corners = ours[0][:, :, [0, 0, -1, -1], [0, -1, 0, -1]].permute(0, 2, 1).reshape(-1, 3)
    assert (corners == torch.tensor([1, 2, 3])).all(dim=1).float().mean() > 0.4


@pytest.mark.slow
def test_stock_ffcv_operations_work_and_obey_the_seed(split):
    options = make_config([*TRAIN, {"ffcv.Cutout": {"crop_size": 5}}], order="random")
    reference = epoch(FFCVDataLoader(split, options))
    assert same(epoch(FFCVDataLoader(split, replace(options, batch_size=5, num_workers=4))), reference)
    assert same(epoch(PyTorchDataLoader(split, replace(options, num_workers=0))), reference)
    (worker,) = pickle.loads(pickle.dumps(options.augmentation.steps))  # as one that does not fork gets it
    assert worker[1].arguments == {"crop_size": 5}
    assert not same(epoch(FFCVDataLoader(split, make_config(TRAIN, order="random"))), reference)


@pytest.mark.parametrize(
    ("operations", "message"),
    [
        ([{"Mixup": {"alpha": 0}}], "Mixup: alpha must be a number from 0.001 to 1000, and is 0."),
        ([{"Mixup": {}}, {"Cutout": {"crop_size": 3}}], "Mixup must be the last"),
        ([{"CutMix": {}}, {"Cutout": {"crop_size": 3}}], "CutMix must be the last"),
        ([{"Cutmix": {}}], "there is no operation 'Cutmix'. Did you mean 'CutMix'?"),
        ([{"CutMix": {"alpha": 0}}], "CutMix: alpha must be a number from 0.001 to 1000, and is 0."),
        ([{"CutMix": {"p": 1.5}}], "CutMix: p must be a number from 0 to 1, and is 1.5."),
        (
            [{"Mixup": {}}, {"CutMix": {"p": 0.5}}],
            "Mixup and CutMix mix each image at most once, so that their p are at most 1 together, and they are 1 and "
            "0.5. Give each its part, such as Mixup: {p: 0.5}, CutMix: {p: 0.5}.",
        ),
        ([{"Mixup": {"p": 0.5}}, {"Mixup": {"p": 0.5}}], "Mixup stands in the list more than once."),
        ([{"Cutout": {"crop_size": 0}}], "Cutout: crop_size must be a whole number from 1 to"),
        (
            [{"Cutout": {"crop_size": 2, "fill": [0, 0]}}],
            "Cutout: fill must be a whole number from 0 to 255 or a list of three",
        ),
        ([{"GaussianBlur": {"kernel_size": 4}}], "GaussianBlur: kernel_size must be odd"),
        ([{"ColorJitter": {"hue": 0.6}}], "ColorJitter: hue must be a number from 0 to 0.5, and is 0.6."),
        ([{"ColorJitter": {"contrast": [2, 1]}}], "ColorJitter: contrast must be"),
        ([{"Solarize": {"threshold": 300}}], "Solarize: threshold must be a number from 0 to 255"),
        (
            [{"RandomErasing": {"scale": [0.5, 2]}}],
            "RandomErasing: scale must be [low, high], two numbers from 0.0001 to 1, and is [0.5, 2].",
        ),
        ([{"Grayscale": {"p": -1}}], "Grayscale: p must be a number from 0 to 1"),
        ([{"ffcv.Cutoutt": {}}], "ffcv.Cutoutt: ffcv.transforms has no such operation. Did you mean 'Cutout'?"),
        ([{"ffcv.Cutout": {}}], "ffcv.Cutout: its argument crop_size is missing: crop_size must be a whole number."),
        ([{"ffcv.ImageMixup": {"alpha": 1.0, "same_lambda": True}}], "ffcv.ImageMixup: it works on a whole batch"),
        ([{"ffcv.ToTorchImage": {}}], "ffcv.ToTorchImage: it does not give an 8-bit image"),
    ],
)
def test_bad_lists_are_refused_by_name(operations, message):
    with pytest.raises(AugmentationError) as refused:
        Augmentation(operations, 32, 0, "augment.train")
    assert f"augment.train: {message}" in str(refused.value)


ROOT = Path(formwork.__file__).parents[2]
LOAD_OWN = """
import pickle, sys
from numba.core import event
with event.install_recorder("numba:compile") as compiled:
    import torch
    from formwork.loading.ffcv_loader import FFCVDataLoader
    from formwork.loading.pytorch_loader import PyTorchDataLoader
    from tests.loading.conftest import make_config
    with open(sys.argv[1], "rb") as file:
        split = pickle.load(file)
    plain, config = make_config([], dtype="uint8"), make_config([{"Invert": {"p": 1}}], dtype="uint8")
    for other in (FFCVDataLoader(split, config), PyTorchDataLoader(split, config)):
        for (images, _), (inverted, _) in zip(FFCVDataLoader(split, plain), other, strict=True):
            assert torch.equal(int(sys.argv[2]) - images, inverted)
names = [event.data["dispatcher"].py_func.__module__ for _, event in compiled.buffer if event.is_start]
print(len(compiled.buffer), sum(name.startswith("formwork.") for name in names))
"""
LOAD_OWN_FROM_ELSEWHERE = f"""
from pathlib import Path
from formwork import own
own.use(Path("repository"))
{LOAD_OWN}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """src/ of a repository, with the operation that the docs describe."""
    source = tmp_path / "repository/src"
    shutil.copytree(ROOT / "src", source, ignore=shutil.ignore_patterns("__pycache__"))
    (example,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/augmentation.md").read_text(), re.M | re.S)
    # Named by the folder, so that it is compiled in each run of this test; kernels of ours may be there already.
    (source / "own/operations.py").write_text(f"# {tmp_path}\n{example}")
    return source


def load_own(
    split: SplitFiles, folder: Path, *paths: Path, script: str = LOAD_OWN, whole: int = 255
) -> tuple[int, int]:
    """A process in `folder` checks that images were subtracted from `whole`; the number of compilations, and of those
    of our own functions."""
    (folder / "split").write_bytes(pickle.dumps(split))
    path = os.pathsep.join(map(str, (*paths, ROOT)))
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-c", script, "split", str(whole)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 0, done.stderr
    compilations, ours = map(int, done.stdout.split())
    return compilations, ours


@pytest.mark.slow
def test_an_operation_of_ones_own_works_with_both_loaders_and_is_compiled_once(
    split: SplitFiles, repository: Path, tmp_path: Path
) -> None:
    assert load_own(split, tmp_path, repository)[0] > 0

    library = tmp_path / "library"  # as installed: it finds the repository's code by its path alone
    shutil.copytree(repository / "formwork", library / "formwork")
    assert load_own(split, tmp_path, library, script=LOAD_OWN_FROM_ELSEWHERE)[0] == 0

    operations = repository / "own/operations.py"
    operations.write_text(operations.read_text().replace("255", "254"))
    compilations, ours = load_own(split, tmp_path, repository, whole=254)
    assert compilations > 0
    assert ours == 0
