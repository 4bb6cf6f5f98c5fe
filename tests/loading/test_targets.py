"""Targets of every task come from the manifest, in both loaders alike; so do weights, and the order class_balanced."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from formwork.conversion.write import write_beton
from formwork.errors import ParamsError
from formwork.images.manifest import read_manifest, write_manifest
from formwork.images.row import Columns, Row
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.order import samples_of
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.loading.targets import targets_of
from formwork.params import BetonParams
from tests.loading.conftest import CLASSES, TRAIN, make_config

LABELS = ("day", "fog", "night", "rain")
BOTH = (FFCVDataLoader, PyTorchDataLoader)


def labelled(number: int) -> tuple[str, ...]:
    """The labels of an image: none, one, two or three of the four; `night` is in no image."""
    return tuple(name for name, every in (("day", 2), ("fog", 3), ("rain", 12)) if number % every == 0)


CHANGES: dict[str, tuple[Columns, Callable[[int, Row], dict]]] = {
    "classes": (Columns(weights=True), lambda n, row: {"weight": 0.5 + n % 3}),
    "multilabel": (
        Columns("multilabel", from_table=True),
        lambda n, row: {"class_name": "", "label": 0, "labels": labelled(n)},
    ),
    "regression": (
        Columns("regression", from_table=True, target_names=("age", "height"), weights=True),
        lambda n, row: {"class_name": "", "label": 0, "targets": (n / 3, -1e3 * n), "weight": 1 + n % 2},
    ),
}


@pytest.fixture(scope="module")
def splits(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SplitFiles]:
    """The training images, labelled for each task."""
    rows, found = read_manifest(dataset / "interim/odd/train.csv").rows, {}
    for task, (columns, change) in CHANGES.items():
        folder = tmp_path_factory.mktemp(task)
        changed = [replace(row, **change(n, row)) for n, row in enumerate(rows)]
        manifest = write_manifest(folder / "train.csv", changed, columns)
        write_beton(manifest, dataset / "raw/odd", folder / "train.beton", BetonParams(write_mode="raw"), workers=1)
        found[task] = SplitFiles("train", manifest, folder / "train.beton", dataset / "raw/odd")
    return found


def config_of(split: SplitFiles, operations: list | None = None, **changes) -> LoaderConfig:
    names = {"classes": CLASSES, "multilabel": LABELS, "regression": ()}[split.manifest.task]
    options = {"num_workers": 0, "class_names": names, "weighted": split.manifest.columns.weights}
    return make_config(operations, **(options | changes))


def batches(loader) -> list[torch.Tensor]:
    return [torch.cat(parts) for parts in zip(*loader, strict=True)]


@pytest.mark.parametrize("mixup", [[], [{"Mixup": {"alpha": 0.8, "p": 0.5}}, {"CutMix": {"p": 0.5}}]])
@pytest.mark.parametrize("order", ["random", "class_balanced"])
@pytest.mark.parametrize("task", CHANGES)
def test_both_loaders_give_the_same_images_targets_and_weights(splits, task, order, mixup):
    if (task, order) == ("regression", "class_balanced"):
        return
    config = config_of(splits[task], [*TRAIN, *mixup], order=order, timesteps=2)
    ffcv, pytorch = (batches(loader(splits[task], config)) for loader in BOTH)
    assert len(ffcv) == 2 + splits[task].manifest.columns.weights
    assert all(map(torch.equal, ffcv, pytorch))
    assert [part.shape[:2] for part in ffcv] == [(70, 2)] * len(ffcv)


@pytest.mark.parametrize("loader", BOTH)
def test_targets_are_those_of_the_table(splits, loader):
    _, labels = batches(loader(splits["multilabel"], config_of(splits["multilabel"])))
    assert labels.dtype == torch.float32
    assert labels.tolist() == [[float(name in labelled(n)) for name in LABELS] for n in range(70)]
    _, numbers, weights = batches(loader(splits["regression"], config_of(splits["regression"])))
    assert numbers.dtype == weights.dtype == torch.float32
    assert np.array_equal(numbers.numpy(), np.array([(n / 3, -1e3 * n) for n in range(70)], np.float32))
    assert weights.tolist() == [1 + n % 2 for n in range(70)]
    _, classes, weights = batches(loader(splits["classes"], config_of(splits["classes"])))
    assert classes.dtype == torch.int64
    assert classes.tolist() == splits["classes"].manifest.labels.tolist()
    assert weights.tolist() == [0.5 + n % 3 for n in range(70)]
    assert len(batches(loader(splits["classes"], config_of(splits["classes"], weighted=False)))) == 2


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_targets_are_mixed_as_images_are(splits, task):
    mixing = {"Mixup": {"alpha": 0.8}} if task == "regression" else {"CutMix": {}}
    config = config_of(splits[task], [*TRAIN, mixing], order="random", drop_last=True)
    mixed = FFCVDataLoader(splits[task], config)
    draws = np.concatenate([batch.draws for batch in config.sampler(mixed.beton.storage_order, mixed.targets)])
    share, partner = config.augmentation.mix(0, draws).shares, np.arange(len(draws)) ^ 1
    parts = [mixed.targets.of(draws), *([mixed.targets.weights_of(draws)[:, None]] if config.weighted else [])]
    for found, values in zip(batches(mixed)[1:], parts, strict=True):
        expected = values * share[:, None] + values[partner] * (1 - share[:, None])
        assert np.allclose(found.reshape(expected.shape), expected)


def test_every_class_comes_equally_often_and_no_image_twice_alike(splits):
    split = splits["classes"]
    rare = replace(split, manifest=split.manifest)
    targets = targets_of(rare.manifest, CLASSES)
    targets.labels = np.where(np.arange(70) < 4, np.arange(70) % 2, 2)  # 2, 2 and 66 images
    sampler = make_config(order="class_balanced").sampler(split.manifest.storage_order, targets)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        draws = np.concatenate([batch.draws for batch in sampler])
        assert len(np.unique(draws)) == 70
        samples = Counter(samples_of(draws).tolist())
        assert sorted(Counter(targets.labels[samples_of(draws)]).values()) == [23, 23, 24]
        for small in ((0, 2), (1, 3)):  # its images come equally often
            assert max(samples[n] for n in small) - min(samples[n] for n in small) <= 1
        assert max(samples[n] for n in range(4, 70)) == 1


def test_balanced_labels_leave_no_image_out_for_having_none(splits):
    config = config_of(splits["multilabel"], order="class_balanced", batch_size=7)
    targets = targets_of(splits["multilabel"].manifest, LABELS)
    seen: Counter = Counter()
    sampler = config.sampler(splits["multilabel"].manifest.storage_order, targets)
    for _ in range(20):
        for batch in sampler:
            labels = targets.of(samples_of(batch.draws))
            seen.update(dict(zip(LABELS, labels.sum(axis=0).astype(int).tolist(), strict=True)))
            seen["none"] += int((labels.sum(axis=1) == 0).sum())
    assert seen["night"] == 0
    assert seen["none"] in range(20 * 17, 20 * 18 + 1)  # a quarter of 70: of day, fog, rain and none
    assert seen["rain"] >= 20 * 17  # in 6 images of 70


@pytest.mark.parametrize("loader", BOTH)
def test_a_repeated_image_is_augmented_anew(splits, loader):
    targets = targets_of(splits["multilabel"].manifest, LABELS)
    config = config_of(splits["multilabel"], order="class_balanced", batch_size=70, drop_last=False)
    (images, _) = batches(loader(splits["multilabel"], config))
    (batch,) = config.sampler(splits["multilabel"].manifest.storage_order, targets)
    large = np.flatnonzero(
        np.minimum(*(splits["multilabel"].manifest.numbers(name) for name in ("width", "height"))) > 16
    )
    sample, times = Counter(s for s in samples_of(batch.draws).tolist() if s in large).most_common(1)[0]
    assert times > 1
    shown = images[samples_of(batch.draws) == sample]
    assert len({image.numpy().tobytes() for image in shown}) == times


def test_ranks_and_interruptions_change_no_balanced_batch(splits):
    config = config_of(splits["classes"], order="class_balanced", batch_size=8)
    whole = list(FFCVDataLoader(splits["classes"], config))
    ranks = [list(PyTorchDataLoader(splits["classes"], replace(config, rank=r, world_size=2))) for r in range(2)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert all(torch.equal(torch.cat(of_ranks), part) for part, *of_ranks in zip(batch, *parts, strict=True))
    loader = FFCVDataLoader(splits["classes"], config)
    for _, _ in zip(range(3), loader, strict=False):
        state = loader.state_dict()
    other = PyTorchDataLoader(splits["classes"], config)
    other.load_state_dict(state)
    for batch, expected in zip(other, whole[3:], strict=True):
        assert all(map(torch.equal, batch, expected))


def test_numbers_have_no_classes_to_balance(splits):
    with pytest.raises(ParamsError, match="class_balanced needs classes, and this dataset has numbers"):
        FFCVDataLoader(splits["regression"], config_of(splits["regression"], order="class_balanced"))
