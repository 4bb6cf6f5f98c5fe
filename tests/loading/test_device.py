"""Batches on the way to a GPU: the values of the loader, one batch ahead, from memory that is not used again before.

The device is one whose copies come late. Where there is a GPU, tests of it run, too.
"""

import threading
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from formwork.loading import base, pinned
from formwork.loading.base import BaseLoader
from formwork.loading.buffers import BufferPool
from formwork.loading.device import GPU, UNDER_WAY, prefetched
from formwork.loading.ffcv_loader import FFCVDataLoader
from tests.loading.conftest import make_config
from tests.loading.slow_device import SlowDevice
from tests.loading.test_loaders import LOADERS, epoch, same

CUDA = torch.device("cuda")
OPTIONS = {"order": "random", "batch_size": 7, "batches_ahead": 1}
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="memory can be pinned")


def slow(loader: type[BaseLoader], split, **changes) -> tuple[BaseLoader, SlowDevice]:
    """A loader whose batches go to a slow device as uint8."""
    made = loader(split, make_config(**OPTIONS | {"dtype": "uint8"} | changes))
    made.destination = device = SlowDevice(made.config)
    return made, device


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("FFCVDataLoader")}


@pytest.mark.parametrize("loader", LOADERS)
def test_a_slow_copy_brings_what_the_loader_gives(split, loader):
    expected = loader(split, make_config(**OPTIONS))
    found, device = slow(loader, split)
    for _ in range(2):
        assert same(epoch(found), epoch(expected))
    assert device.sent == device.arrived == 20
    assert (device.changed, device.under_way) == (0, 0)
    assert device.most_ahead == 1


def test_memory_is_used_again_when_its_copy_is_over(split):
    loader, _ = slow(FFCVDataLoader, split)
    for _ in range(2):
        epoch(loader)
    # One in the queue, one that waits for room there, one in work, those under way, and one that comes to them: not one
    # for each of 20 batches.
    assert 2 < len(loader.made.buffers.buffers) <= 4 + UNDER_WAY + 1


def test_ranks_see_together_what_one_process_does(split):
    whole = FFCVDataLoader(split, make_config(**OPTIONS))
    ranks = [slow(FFCVDataLoader, split, rank=rank, world_size=2, batch_size=14) for rank in range(2)]
    both = FFCVDataLoader(split, make_config(**OPTIONS | {"batch_size": 14}))
    for shares, batch in zip(zip(*(loader for loader, _ in ranks), strict=True), both, strict=True):
        assert same([torch.cat(part) for part in zip(*shares, strict=True)], batch)
    assert [device.changed for _, device in ranks] == [0, 0]
    assert same(epoch(both), epoch(whole)) is False  # that was their second epoch, and its first


@pytest.mark.parametrize("done", [1, 4, 9, 10])
def test_a_batch_that_was_copied_ahead_is_not_done(split, done):
    whole = list(FFCVDataLoader(split, make_config(**OPTIONS)))
    left, device = slow(FFCVDataLoader, split)
    batches = iter(left)
    for _ in range(done):
        next(batches)
    state = left.state_dict()
    assert (state["epoch"], state["batches"]) == (0, done)
    del batches
    assert (device.under_way, threads()) == (0, set())
    resumed, _ = slow(FFCVDataLoader, split)
    resumed.load_state_dict(state)
    for found, expected in zip(resumed, whole[done:], strict=True):
        assert same(found, expected)


def test_what_fails_ahead_is_raised_and_leaves_no_copy():
    class Failed(Exception):
        pass

    def batches():
        yield torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2)
        yield torch.ones(2, 3, 4, 4, dtype=torch.uint8), torch.zeros(2)
        raise Failed

    device = SlowDevice(make_config())
    found = prefetched(batches(), device)
    next(found)
    with pytest.raises(Failed):  # one batch early, as the loader itself makes batches ahead
        next(found)
    assert device.under_way == 0


def test_no_batches_and_one_and_an_empty_one_arrive():
    def sent(*counts: int) -> list[int]:
        batches = ((torch.zeros(count, 3, 4, 4, dtype=torch.uint8), torch.zeros(count)) for count in counts)
        return [len(images) for images, _ in prefetched(batches, SlowDevice(make_config(), seconds=0))]

    assert [sent(), sent(3), sent(0), sent(3, 0)] == [[], [3], [0], [3, 0]]


def test_images_of_several_views_are_normalised_each(split):
    config, views = make_config(), torch.randint(0, 256, (2, 4, 3, 5, 5), dtype=torch.uint8)
    (found,) = prefetched(iter([((views[0], views[1]), torch.arange(4))]), SlowDevice(config))
    (expected,) = prefetched(iter([(views[1], torch.arange(4))]), SlowDevice(config))
    assert torch.equal(found[0][1], expected[0])
    assert found[0][0].dtype == torch.float32


def test_waiting_for_a_copy_is_not_waiting_for_data(split, monkeypatch):
    passed = [0.0]  # seconds, by a clock that goes on while something is copied

    class Timed(SlowDevice):
        def send(self, batch):
            passed[0] += 1
            return super().send(batch)

    monkeypatch.setattr(base, "time", SimpleNamespace(perf_counter=lambda: passed[0]))
    loader, _ = slow(FFCVDataLoader, split)
    loader.destination = Timed(loader.config, seconds=0)
    epoch(loader)
    assert passed == [10.0]
    assert loader.clock.seconds == 0


def test_images_go_to_a_gpu_as_uint8_and_to_other_devices_as_they_are():
    assert make_config(device=CUDA).made == make_config(device=CUDA, dtype="float16").made == "uint8"
    assert make_config(device=torch.device("mps"), dtype="float16").made == "float16"


@no_gpu
def test_where_no_memory_can_be_pinned_one_warning_says_so(split, monkeypatch):
    monkeypatch.setattr(pinned, "_refusal", pinned._Refusal())
    loader = FFCVDataLoader(split, make_config(device=CUDA, **OPTIONS))
    with pytest.warns(UserWarning, match=r"No more memory can be pinned \(Found no NVIDIA driver .*ulimit -l") as said:
        batches = list(loader.batches())
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pinned.pinned(batches[0][0]) is batches[0][0]
    assert same(batches[0], next(iter(FFCVDataLoader(split, make_config(dtype="uint8", **OPTIONS)))))


@no_gpu
def test_the_calls_for_a_gpu_are_in_order(monkeypatch):
    """Without a GPU, what can be said of its part: which stream waits for what."""
    calls: list[tuple] = []

    class Stream:
        def __init__(self, name):
            self.name = name if isinstance(name, str) else "side"

        def wait_stream(self, other):
            calls.append((self.name, "waits for", other.name))

        def wait_event(self, event):
            calls.append((self.name, "waits for", event.name))

    class Event:
        def __init__(self, blocking):
            self.name = "copied"

        def record(self, stream):
            calls.append((stream.name, "reaches", self.name))

        def synchronize(self):
            calls.append(("CPU", "waits for", self.name))

    @contextmanager
    def stream(current):
        calls.append((current.name, "begins", ""))
        yield

    fake = SimpleNamespace(Stream=Stream, Event=Event, stream=stream, current_stream=lambda device: Stream("compute"))
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda part, s: calls.append((s.name, "uses", part.dtype)))
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda part: True)
    config = make_config()
    batch = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8), torch.arange(2)
    transfer = GPU(torch.device("cpu"), torch.bfloat16, config.normal).send(batch)
    sending = [("side", "waits for", "compute"), ("side", "begins", ""), ("side", "reaches", "copied")]
    assert calls == sending
    images, targets = transfer.arrived()
    used = [("compute", "uses", torch.bfloat16), ("compute", "uses", torch.int64)]
    assert calls[3:] == [("compute", "waits for", "copied"), *used]
    transfer.wait()
    assert calls[-1] == ("CPU", "waits for", "copied")
    (expected,) = prefetched(iter([batch]), SlowDevice(config))
    assert torch.equal(images, expected[0].to(torch.bfloat16))
    assert torch.equal(targets, expected[1])


@gpu
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "uint8"])
def test_a_gpu_gets_what_the_loader_gives_however_late(split, loader, dtype, monkeypatch):
    expected = loader(split, make_config(dtype="float32" if dtype == "uint8" else dtype, **OPTIONS))
    found = loader(split, make_config(dtype=dtype, device=CUDA, **OPTIONS))
    send = GPU.send

    def send_late(device: GPU, batch):
        with torch.cuda.stream(device.stream):
            torch.cuda._sleep(20_000_000)  # clock cycles: about 10 ms
        return send(device, batch)

    monkeypatch.setattr(GPU, "send", send_late)
    for _ in range(2):
        for ours, theirs in zip(found, expected, strict=True):
            assert all(part.is_cuda for part in ours)
            assert same([part.cpu() for part in ours], theirs)


@gpu
def test_buffers_of_a_gpu_are_pinned(split):
    loader = FFCVDataLoader(split, make_config(device=CUDA, **OPTIONS))
    assert all(images.is_pinned() for images, _ in loader.batches())


def test_buffers_made_of_tensors_are_told_apart_by_who_holds_them():
    pool = BufferPool(lambda size: torch.empty(size, dtype=torch.uint8).numpy())
    first = torch.from_numpy(pool.take((3, 4), np.float32)).permute(1, 0)
    second = pool.take((3, 4), np.float32)
    assert first.data_ptr() != second.ctypes.data
    address = first.data_ptr()
    del first
    assert pool.take((3, 4), np.float32).ctypes.data == address
