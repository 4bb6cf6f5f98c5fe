"""Both loaders give the same tensors, whatever the workers, and keep the contract of a batch."""

import numpy as np
import pytest
import torch
from ffcv.fields import IntField, RGBImageField
from ffcv.loader import Loader
from ffcv.writer import DatasetWriter
from torch.utils.data import DataLoader

from formwork.images.pixels import read_rgb
from formwork.loading.base import BaseLoader, SplitFiles
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.pytorch_loader import PyTorchDataLoader
from tests.loading.conftest import RESOLUTION, make_config
from tests.make_images import pillow_resize

pytestmark = pytest.mark.plain

LOADERS = [FFCVDataLoader, PyTorchDataLoader]


def epoch(loader) -> tuple[torch.Tensor, torch.Tensor]:
    """All images and labels of one epoch."""
    images, labels = zip(*((i.clone(), t.clone()) for i, t in loader), strict=True)
    return torch.cat(images), torch.cat(labels)


def same(first, second) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_they_share_their_base_class_and_no_code_of_ffcv():
    assert issubclass(FFCVDataLoader, BaseLoader)
    assert issubclass(PyTorchDataLoader, BaseLoader)
    assert issubclass(PyTorchDataLoader, DataLoader)
    assert not issubclass(FFCVDataLoader, Loader)


@pytest.mark.parametrize("os_cache", [True, False])
@pytest.mark.parametrize("order", ["sequential", "random", "quasi_random"])
def test_equal_to_the_last_bit_with_raw_storage(split, order, os_cache):
    options = make_config(order=order, os_cache=os_cache)
    ffcv, pytorch = FFCVDataLoader(split, options), PyTorchDataLoader(split, options)
    epochs = [(epoch(ffcv), epoch(pytorch)) for _ in range(2)]
    for ours, theirs in epochs:
        assert same(ours, theirs)
    assert not same(epochs[0][0], epochs[1][0])


def test_jpg_storage_differs_by_the_stored_jpeg_alone(make_split):
    split = make_split(write_mode="jpg", jpeg_quality=95)
    operations = [{"Resize": {}}]
    images, _ = epoch(FFCVDataLoader(split, make_config(operations)))
    originals, _ = epoch(PyTorchDataLoader(split, make_config(operations)))
    difference = (images - originals).abs().mean() / originals.std()
    assert 0 < difference < 0.5  # noise images are the worst case for JPEG, and colours are stored at half resolution


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")  # on a machine of fewer cores
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("changes", [{"num_workers": 0}, {"num_workers": 1}, {"num_workers": 4}, {"batches_ahead": 1}])
def test_workers_change_nothing(split, loader, changes):
    reference = epoch(loader(split, make_config(order="random")))
    assert same(epoch(loader(split, make_config(order="random", **changes))), reference)


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("batch_size", [1, 7, 64, 200])
def test_batch_size_changes_no_image(split, loader, batch_size):
    reference = epoch(loader(split, make_config(order="random")))
    assert same(epoch(loader(split, make_config(order="random", batch_size=batch_size))), reference)


@pytest.mark.parametrize("loader", LOADERS)
def test_set_epoch_gives_what_an_uninterrupted_run_would_have_seen(split, loader):
    straight = loader(split, make_config(order="quasi_random"))
    epochs = [epoch(straight) for _ in range(3)]
    resumed = loader(split, make_config(order="quasi_random"))
    resumed.sampler.set_epoch(2)
    assert same(epoch(resumed), epochs[2])


@pytest.mark.parametrize("loader", LOADERS)
def test_a_batch_keeps_its_contract(split, loader):
    batches = list(loader(split, make_config()))
    for images, labels in batches:
        assert images.shape == (len(labels), 3, RESOLUTION, RESOLUTION)
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.shape == (len(labels),)
        assert labels.dtype == torch.int64
    assert [len(labels) for _, labels in batches] == [16, 16, 16, 16, 6]


@pytest.mark.parametrize("loader", LOADERS)
def test_drop_last_leaves_out_what_does_not_fill_a_batch(split, loader):
    batches = loader(split, make_config(drop_last=True))
    assert [len(labels) for _, labels in batches] == [16] * 4
    assert len(batches) == 4


@pytest.mark.parametrize("loader", LOADERS)
def test_validation_drops_nothing_and_repeats_nothing(split, loader):
    operations = [{"Resize": {}}]
    images, labels = epoch(loader(split, make_config(operations)))
    assert labels.tolist() == [row.label for row in split.manifest.rows]
    for image, row in zip(images, split.manifest.rows, strict=True):
        pixels = np.asarray(pillow_resize(read_rgb(split.raw / row.path), (RESOLUTION, RESOLUTION)), dtype=np.float64)
        expected = (pixels / 255 - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
        assert np.allclose(image.permute(1, 2, 0).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("loader", LOADERS)
def test_timesteps_repeat_a_batch_without_copying_it(split, loader):
    plain = epoch(loader(split, make_config()))
    batches = list(loader(split, make_config(timesteps=5)))
    images, labels = batches[0]
    assert images.shape == (16, 5, 3, RESOLUTION, RESOLUTION)
    assert labels.shape == (16, 5)
    assert images.stride(1) == labels.stride(1) == 0
    assert same((torch.cat([i[:, 4] for i, _ in batches]), torch.cat([t[:, 4] for _, t in batches])), plain)


@pytest.mark.parametrize("loader", LOADERS)
def test_ranks_together_see_the_global_batches(split, loader):
    whole = list(loader(split, make_config(order="random")))
    ranks = [list(loader(split, make_config(order="random", rank=r, world_size=2))) for r in range(2)]
    assert sum(len(labels) for rank in ranks for _, labels in rank) == 70
    for number, batch in enumerate(whole):
        shares = [rank[number] for rank in ranks if number < len(rank)]
        assert same([torch.cat(part) for part in zip(*shares, strict=True)], batch)


@pytest.mark.parametrize("os_cache", [True, False])
def test_a_held_batch_is_never_overwritten(split, os_cache):
    loader = FFCVDataLoader(split, make_config(batch_size=2, os_cache=os_cache))
    held = [(images, images.clone()) for _ in range(3) for images, _ in loader]
    assert len(held) == 105
    assert all(torch.equal(images, copy) for images, copy in held)


def test_buffers_are_used_again_when_nobody_holds_them(split):
    loader = FFCVDataLoader(split, make_config(batch_size=2, batches_ahead=2))
    for _ in range(5):
        for images, _ in loader:
            images.add_(1)  # a batch is its consumer's to change
    # The one in work, those ahead, the one that waits to be put, the one in use.
    assert len(loader.made.buffers.buffers) <= 2 + 4


class Stock(torch.utils.data.Dataset):
    def __init__(self, split: SplitFiles):
        self.split = split

    def __len__(self) -> int:
        return len(self.split.manifest)

    def __getitem__(self, sample: int):
        row = self.split.manifest.rows[sample]
        return np.array(read_rgb(self.split.raw / row.path)), row.label


@pytest.mark.parametrize("mode", ["raw", "jpg"])
def test_reads_betons_of_the_stock_writer(split, tmp_path, mode, capfd):
    path = tmp_path / "stock.beton"
    fields = {"image": RGBImageField(write_mode=mode, jpeg_quality=95), "label": IntField()}
    DatasetWriter(str(path), fields, num_workers=2).from_indexed_dataset(Stock(split), chunksize=5)
    stock = SplitFiles("train", split.manifest, path, split.raw)
    operations = [{"Resize": {}}]
    images, labels = epoch(FFCVDataLoader(stock, make_config(operations)))
    originals, expected = epoch(PyTorchDataLoader(split, make_config(operations)))
    assert torch.equal(labels, expected)
    difference = (images - originals).abs().mean() / originals.std()
    assert difference == 0 if mode == "raw" else 0 < difference < 0.5


@pytest.mark.parametrize("loader", LOADERS)
def test_waiting_for_data_is_measured(split, loader):
    batches = loader(split, make_config())
    for _ in batches:
        pass
    assert batches.clock.seconds > 0


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")
def test_torchvision_operations_draw_the_same_with_any_workers(split):
    operations = [{"RandomHorizontalFlip": {}}, {"RandomPosterize": {"bits": 4}}, {"RandAugment": {}}]
    state = torch.get_rng_state()
    reference = epoch(PyTorchDataLoader(split, make_config(operations, num_workers=0)))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(epoch(PyTorchDataLoader(split, make_config(operations, num_workers=3))), reference)
    plain = epoch(PyTorchDataLoader(split, make_config(operations[:1], num_workers=0)))
    assert not torch.equal(plain[0], reference[0])
