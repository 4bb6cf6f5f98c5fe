"""A loader can say where it is, and go on from there: the same loader, another one, or several ranks."""

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from formwork.conversion.write import write_beton
from formwork.errors import FormworkError
from formwork.loading.base import SplitFiles
from formwork.loading.beton_reader import BetonReader
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.params import BetonParams
from tests.loading.conftest import make_config
from tests.loading.test_loaders import LOADERS, epoch, same
from tests.make_images import make_manifest


def take(loader, count: int) -> None:
    batches = iter(loader)
    for _ in range(count):
        next(batches)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("done", [1, 3, 5])
def test_the_rest_is_what_an_uninterrupted_epoch_would_have_given(split, loader, done):
    options = make_config(order="quasi_random")
    straight = loader(split, options)
    whole = [[(i.clone(), t.clone()) for i, t in straight] for _ in range(2)]
    interrupted = loader(split, options)
    take(interrupted, done)  # more were made ahead, and do not count
    state = interrupted.state_dict()
    assert (state["epoch"], state["batches"]) == (0, done)
    for other in (FFCVDataLoader, PyTorchDataLoader):
        resumed = other(split, options)
        resumed.load_state_dict(state)
        assert len(resumed) == len(straight)
        rest = list(resumed)
        assert len(rest) == 5 - done
        assert all(same(a, b) for a, b in zip(rest, whole[0][done:], strict=True))
        assert same(epoch(resumed), [torch.cat(part) for part in zip(*whole[1], strict=True)])


@pytest.mark.parametrize("loader", LOADERS)
def test_two_ranks_go_on_where_one_was(split, loader):
    whole = list(loader(split, make_config(order="random")))
    one = loader(split, make_config(order="random"))
    take(one, 2)
    ranks = [loader(split, make_config(order="random", rank=rank, world_size=2)) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict(one.state_dict())
    for shares, batch in zip(zip(*ranks, strict=True), whole[2:], strict=True):
        assert same([torch.cat(part) for part in zip(*shares, strict=True)], batch)


@pytest.mark.parametrize("changes", [{"seed": 4}, {"batch_size": 8}, {"order": "random"}, {"drop_last": True}])
def test_a_state_of_another_run_is_refused(split, changes):
    state = FFCVDataLoader(split, make_config()).state_dict()
    with pytest.raises(FormworkError, match="cannot go on from this checkpoint, which was made with other values of"):
        FFCVDataLoader(split, make_config(**changes)).load_state_dict(state)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_rank_without_a_sample_gets_an_empty_batch(split, loader):
    batches = list(loader(split, make_config(batch_size=69, rank=0, world_size=3)))
    assert [len(labels) for _, labels in batches] == [23, 1]
    images, labels = list(loader(split, make_config(batch_size=69, rank=2, world_size=3, timesteps=2)))[-1]
    assert images.shape == (0, 2, 3, 20, 20)
    assert labels.shape == (0, 2)


@pytest.mark.parametrize("loader", LOADERS)
def test_images_grow_with_the_epochs(split, loader):
    schedule = ((1, 8), (2, 32))
    batches = loader(split, make_config(order="random", resolution_schedule=schedule))
    plain = loader(split, make_config(order="random"))
    epochs = [epoch(batches) for _ in range(4)]
    assert [images.shape[-1] for images, _ in epochs] == [20, 8, 32, 32]
    assert same(epochs[0], epoch(plain))
    batches.sampler.set_epoch(1)
    assert same(epoch(batches), epochs[1])


@pytest.mark.parametrize("size", [(1, 1), (20_000, 30), (30, 20_000)])
@pytest.mark.parametrize("count", [2, 3])
def test_any_shape_and_fewer_images_than_a_batch(tmp_path, size, count):
    for number in range(count):
        path = tmp_path / f"raw/{number % 2}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (number * 50, 100, 200)).save(path)
    manifest = make_manifest(tmp_path / "raw", tmp_path / "interim/train.csv")
    write_beton(manifest, tmp_path / "raw", tmp_path / "train.beton", BetonParams(write_mode="raw"), workers=1)
    split = SplitFiles("train", manifest, tmp_path / "train.beton", tmp_path / "raw")
    ffcv, pytorch = (epoch(loader(split, make_config(num_workers=0))) for loader in LOADERS)
    assert same(ffcv, pytorch)
    assert len(ffcv[1]) == count


@pytest.mark.parametrize("order", ["sequential", "random", "quasi_random"])
@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("os_cache", [True, False])
def test_every_byte_is_read_about_once(split, order, os_cache, small, monkeypatch):
    if not small:
        monkeypatch.setattr(BetonReader, "_may_be_held", lambda *_: False)
    loader = FFCVDataLoader(split, make_config([{"Resize": {}}], order=order, os_cache=os_cache))
    epoch(loader)
    before = psutil.Process().io_counters().read_chars
    epoch(loader)
    read = psutil.Process().io_counters().read_chars - before
    if small and os_cache:  # in the first epoch, and kept
        assert read < 0.05 * np.sum(loader.beton.sizes)
    else:
        assert np.sum(loader.beton.sizes) <= read < 1.05 * np.sum(loader.beton.sizes)
