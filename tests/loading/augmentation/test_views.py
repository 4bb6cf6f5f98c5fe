"""Several views of an image: decoded once, each from random numbers of its own, the same with both loaders."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from formwork.errors import AugmentationError
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.augmentation.project import views_of
from formwork.loading.augmentation.views import Views
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.params import Params
from tests.loading.conftest import CLASSES, RESOLUTION, TRAIN, make_config

pytestmark = pytest.mark.plain

JITTERED = [*TRAIN, {"ColorJitter": {"brightness": 0.4}}]


def config_of(*lists: tuple[list, int], **changes):
    """One view for each list, of images of a side."""
    first, *others = (Augmentation(operations, side, 3, "augment.views") for operations, side in lists)
    return replace(make_config(**({"class_names": CLASSES, "order": "random"} | changes)), augmentation=first,
                   other_views=tuple(others))  # fmt: skip


def same(one, other) -> bool:
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(same, one, other))
    return one.dtype == other.dtype and torch.equal(one, other) and one.stride() == other.stride()


@pytest.mark.parametrize("operations", [TRAIN, JITTERED, [*JITTERED, {"Mixup": {}}]], ids=["plain", "pixel", "mixed"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_both_loaders_give_the_same_views(split, operations, dtype):
    config = config_of(*[(operations, RESOLUTION)] * 2, dtype=dtype)
    for ours, theirs in zip(FFCVDataLoader(split, config), PyTorchDataLoader(split, config), strict=True):
        images, _ = ours
        assert images.shape[1:] == (2, 3, RESOLUTION, RESOLUTION)
        assert all(images[:, view].is_contiguous(memory_format=torch.channels_last) for view in range(2))
        assert all(same(*parts) for parts in zip(ours, theirs, strict=True))
        assert not torch.equal(images[:, 0], images[:, 1])


@pytest.mark.parametrize("write_mode", ["raw", "jpg"])
def test_the_first_view_is_the_only_one_of_a_loader_with_one(make_split, write_mode):
    """So that a crop of one view takes nothing from what the other needs of the image."""
    split = make_split(write_mode=write_mode)
    one, two = (FFCVDataLoader(split, config_of(*[(TRAIN, RESOLUTION)] * count)) for count in (1, 2))
    for (images, labels), (views, same_labels) in zip(one, two, strict=True):
        assert torch.equal(views[:, 0], images)
        assert torch.equal(labels, same_labels)


@pytest.mark.parametrize(
    "small_list", [JITTERED, [*JITTERED, {"JPEG": {"quality": [5, 90]}}]], ids=["compiled", "in Python"]
)
@pytest.mark.parametrize("workers", [0, 1])
def test_views_of_several_sizes_are_a_tensor_for_each_size(split, small_list, workers):
    config = config_of((TRAIN, 20), (small_list, 8), ([{"Resize": {}}], 20), (small_list, 8), num_workers=workers)
    for ours, theirs in zip(FFCVDataLoader(split, config), PyTorchDataLoader(split, config), strict=True):
        (large, small), labels = ours
        assert large.shape == (len(labels), 2, 3, 20, 20)
        assert small.shape == (len(labels), 2, 3, 8, 8)
        assert isinstance(ours, tuple)
        assert same(ours, theirs)
    resized = FFCVDataLoader(split, config_of(([{"Resize": {}}], 20)))
    for ((large, _), _), (images, _) in zip(FFCVDataLoader(split, config), resized, strict=True):
        assert torch.equal(large[:, 1], images)


@pytest.mark.parametrize("changes", [{"batch_size": 7}, {"num_workers": 1}, {"batches_ahead": 1}])
def test_nothing_changes_with_batch_size_or_workers(split, changes):
    config = config_of(*[([*JITTERED, {"CutMix": {}}], RESOLUTION)] * 3)
    reference, other = (
        [torch.cat(parts) for parts in zip(*FFCVDataLoader(split, replace(config, **change)), strict=True)]
        for change in ({}, changes)
    )
    assert all(map(torch.equal, reference, other))


def test_a_schedule_sets_the_size_of_all_views(split):
    config = config_of(*[(TRAIN, RESOLUTION)] * 2, resolution_schedule=((1, 9),))
    for loader in (FFCVDataLoader(split, config), PyTorchDataLoader(split, config)):
        assert [next(iter(loader))[0].shape[-1] for _ in range(2)] == [20, 9]


def test_views_that_cannot_share_their_targets_are_refused():
    mixed, plain = [{"Resize": {}}, {"Mixup": {}}], [{"Resize": {}}]
    for lists in (
        [(mixed, 8), (plain, 8)],
        [(mixed, 8), (mixed, 6)],
        [(mixed, 8), ([*plain, {"Mixup": {"p": 0.5}}], 8)],
    ):
        with pytest.raises(AugmentationError, match=r"augment\.views: Mixup must end the list of each view.*View 2"):
            Views(tuple(Augmentation(operations, side, 0) for operations, side in lists))


def test_params_make_views():
    def made(views: object) -> Views:
        params = Params.model_validate({"data": {"name": "odd"}, "augment": {"views": views}})
        return views_of(params, "train", [{"Resize": {}}], 16)

    assert len(made(1)) == 1
    assert made(3).sides == [16, 16, 16]
    crops = {"times": 2, "resolution": 8, "operations": [{"RandomResizedCrop": {"scale": [0.1, 0.4]}}]}
    assert made([[{"Resize": {}}], crops]).sides == [16, 8, 8]
    with pytest.raises(AugmentationError, match=r"augment\.views\[2\]: there is no operation 'Flip'"):
        made([[{"Resize": {}}], [{"Flip": {}}]])
    with pytest.raises(AugmentationError, match="200 views of an image, and 100 are the most"):
        Views((Augmentation([{"Resize": {}}], 16, 0),) * 200)


def test_draws_of_views_are_independent():
    augmentation = Augmentation([{"RandomResizedCrop": {}}], 32, 0)
    ids = np.arange(4000)
    one, other = (plan.box for plan in Views((augmentation,) * 2).plans(0, ids, np.full(4000, 300), np.full(4000, 400)))
    assert np.abs(np.corrcoef(one.T, other.T)[:4, 4:]).max() < 0.06
