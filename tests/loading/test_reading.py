"""Where the bytes of samples come from: files that workers read, memory, the page cache."""

import errno
import os
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from formwork.beton.provenance import checksum
from formwork.errors import BetonError
from formwork.loading import batch_kernels, beton_reader, plain_batches, read_kernel
from formwork.loading.augmentation.base import AugmentPlan
from formwork.loading.augmentation.views import Crops
from formwork.loading.batch_pixels import BatchPixels
from formwork.loading.beton_reader import BetonReader
from formwork.loading.buffers import BufferPool
from formwork.loading.ffcv_loader import FFCVDataLoader
from formwork.loading.order import samples_of
from formwork.loading.read import NO_MEMORY, Data
from formwork.loading.read_ahead import AHEAD, ReadAhead
from formwork.loading.status import FOLLOWED, OK, OUTSIDE_FILE, UNREADABLE
from formwork.loading.verification import Checks
from formwork.system import cached_bytes
from tests.loading.conftest import make_config
from tests.processes import TIMEOUT

WHOLE = [{"Resize": {}}]


@pytest.fixture
def not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BetonReader, "_may_be_held", lambda *_: False)


def bytes_read(loader: FFCVDataLoader) -> int:
    before = psutil.Process().io_counters().read_chars
    list(loader)
    return psutil.Process().io_counters().read_chars - before


@pytest.mark.parametrize("form", [batch_kernels, plain_batches], ids=["compiled", "plain"])
def test_a_sample_in_a_file_is_what_it_is_in_memory(form, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)
    padding = 2 * read_kernel.LEAST + 5  # more than is read at once
    content = np.concatenate([np.zeros(7, np.uint8), pixels.reshape(-1), np.zeros(padding, np.uint8)])
    (tmp_path / "file").write_bytes(content.tobytes())
    written = checksum(pixels.tobytes())
    descriptor = os.open(tmp_path / "file", os.O_RDWR)

    def load(data: Data, wanted: bool, zeros: int, size: int = pixels.size) -> tuple[int, np.ndarray]:
        box = np.array([[0, 10, 30, 20]])  # rows in the middle
        plan = AugmentPlan(
            box=box.astype(np.float32),
            window=box.astype(np.int32),
            shift=np.zeros((1, 2), np.int32),
            flip=np.zeros(1, bool),
            fill=np.zeros(3, np.uint8),
            values=[],
        )
        checks = Checks(np.array([wanted]), np.array([written], np.uint64), np.array([zeros]), trusted=False)
        normal = np.array([[0, 0, 0], [1, 1, 1]], np.float32)
        out, status = BatchPixels(BufferPool(), [8], 1, np.float32), np.full(1, 255, np.uint8)
        numbers = np.array([size]), np.ones(1, np.uint8), np.array([40]), np.array([30])
        form.load(data, *numbers, checks, Crops.of([plan]), normal, 0, 1, out, status)
        return int(status[0]), out.views[0]

    here, there = Data(content, np.array([7])), Data(NO_MEMORY, np.array([7]), np.array([descriptor], np.int32))
    expected = load(here, True, padding)
    assert expected[0] == OK
    for wanted, zeros in ((False, 0), (True, 0), (True, padding)):
        status, out = load(there, wanted, zeros)
        assert status == OK
        assert np.array_equal(out, expected[1])

    assert load(there, True, padding + 1)[0] == UNREADABLE  # the file ends before
    assert load(here, True, padding + 1)[0] == OUTSIDE_FILE
    for place in (7 + pixels.size, len(content) - 1):
        content[place] = 1
        os.pwrite(descriptor, b"\1", place)
        assert load(here, True, padding)[0] == load(there, True, padding)[0] == FOLLOWED
        content[place] = 0
        os.pwrite(descriptor, b"\0", place)
    os.ftruncate(descriptor, 7 + pixels.size - 1)
    assert load(there, True, 0)[0] == UNREADABLE
    os.close(descriptor)
    assert load(there, False, 0)[0] == UNREADABLE


@pytest.mark.parametrize("verify", ["first", "always"])
def test_of_raw_pixels_a_crop_reads_its_rows_once_they_were_compared(make_split, verify: str, not_held: None) -> None:
    loader = FFCVDataLoader(make_split(), make_config(verify=verify))
    size = int(loader.beton.sizes.sum())
    assert bytes_read(loader) >= size
    later = bytes_read(loader)
    assert (later >= size) if verify == "always" else (0.3 * size < later < 0.95 * size)


def test_a_beton_is_held_in_the_background_and_its_batches_are_the_same(split, monkeypatch) -> None:
    expected = [images.clone() for images, _ in FFCVDataLoader(split, make_config(os_cache=False, batch_size=8))]
    monkeypatch.setattr(beton_reader, "ADVANCE", 1000)
    begun, go_on, read = threading.Event(), threading.Event(), BetonReader._read

    def slow(self: BetonReader, *arguments) -> None:
        begun.set()
        go_on.wait(TIMEOUT)
        read(self, *arguments)

    monkeypatch.setattr(BetonReader, "_read", slow)
    loader = FFCVDataLoader(split, make_config(batch_size=8))
    batches = iter(loader)
    first = [next(batches)[0] for _ in range(3)]
    assert begun.wait(TIMEOUT)
    assert loader.source.whole is None  # batches do not wait for it
    go_on.set()
    assert all(map(torch.equal, [*first, *(images for images, _ in batches)], expected))
    assert loader.source.whole is not None
    assert loader.source.whole.tobytes() == split.beton.read_bytes()
    loader.sampler.set_epoch(0)
    assert all(map(torch.equal, [images for images, _ in loader], expected))


def test_what_was_left_early_is_held_later(split, monkeypatch) -> None:
    monkeypatch.setattr(beton_reader, "ADVANCE", 1000)
    stopped, read, reads = threading.Event(), BetonReader._read, []

    def stop(self: BetonReader, *arguments) -> None:
        reads.append(arguments)
        if len(reads) == 5:
            stopped.set()
        read(self, *arguments)

    monkeypatch.setattr(BetonReader, "_read", stop)
    source = BetonReader(split.beton, split.manifest, True, "first")
    source.hold(stopped)
    assert source.whole is None
    assert len(reads) == 5
    source.hold(threading.Event())
    assert len(reads) == -(-split.beton.stat().st_size // 1000)  # none twice
    assert source.whole is not None
    assert source.whole.tobytes() == split.beton.read_bytes()


def test_a_large_beton_of_small_images_is_held_where_there_is_memory(split, monkeypatch) -> None:
    def held(**changes: int) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(beton_reader, "SMALL", 0)
            for name, value in changes.items():
                if name != "ranks":
                    patch.setattr(beton_reader, name, value)
            ranks = changes.get("ranks", 1)
            return BetonReader(split.beton, split.manifest, True, "first", ranks).held

    size = split.beton.stat().st_size
    monkeypatch.setattr(beton_reader, "memory", lambda: (0, 8 * size))
    assert held()
    assert held(ranks=2)
    assert not held(ranks=3)
    assert not held(FEW_PIXELS=100)
    assert not BetonReader(split.beton, split.manifest, False, "first").held


@pytest.mark.parametrize("order", ["sequential", "random", "quasi_random"])
def test_nothing_of_an_epoch_stays_in_the_page_cache(make_split, order: str) -> None:
    split, tables = make_split(), 3 * 4096  # bytes that are read at opening, at most
    loader = FFCVDataLoader(split, make_config(WHOLE, order=order, os_cache=False, batch_size=8))
    with split.beton.open("rb") as file:
        os.fsync(file.fileno())
        list(loader)
        assert (cached_bytes(split.beton) or 0) <= tables < split.beton.stat().st_size / 10
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for _ in loader:
            break
        assert (
            (cached_bytes(split.beton) or 0) <= tables < split.beton.stat().st_size / 10
        )  # what was asked for and not used, too


def test_batches_are_asked_for_one_group_ahead_in_the_order_of_the_file(split, monkeypatch, not_held: None) -> None:
    monkeypatch.setattr(BetonReader, "is_cached", lambda *_: False)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(BetonReader, "ask_for", lambda self, file, start, stop, ended: asked.append((start, stop)))
    source = BetonReader(split.beton, split.manifest, True, "never")
    sampler = make_config(order="quasi_random", batch_size=8).sampler(source.beton.storage_order, None)
    with ReadAhead(source, sampler.window) as ahead:
        batches = ahead.batches(sampler.batches_from(sampler.begin()), lambda batch: samples_of(batch.draws), 0)
        seen = 0
        for batch, used in batches:
            ahead.finish(threading.Event())
            ids = np.concatenate([samples_of(batch.draws)])
            for start, size in zip(source.beton.offsets[ids].tolist(), source.beton.sizes[ids].tolist(), strict=True):
                assert any(a <= start and start + size <= b for a, b in asked)
            used()
            seen += len(ids)
    assert seen == len(source.beton)
    assert all(start % 4096 == 0 and stop % 4096 == 0 for start, stop in asked)
    assert source.beton.size < AHEAD


def test_an_error_while_a_beton_is_read_into_memory_reaches_the_consumer(make_split, monkeypatch) -> None:
    loader = FFCVDataLoader(make_split(), make_config())

    def fail(descriptor: int, position: int, out: np.ndarray) -> bool:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(beton_reader, "read", lambda *_: False)
    monkeypatch.setattr(beton_reader.os, "pread", fail)
    with pytest.raises(BetonError, match="Input/output error"):
        list(loader)


@pytest.mark.parametrize("os_cache", [True, False])
def test_what_cannot_be_read_is_explained(split, monkeypatch, os_cache: bool, not_held: None) -> None:
    loader = FFCVDataLoader(split, make_config(order="sequential", os_cache=os_cache))
    loader.beton.offsets[20] = split.beton.stat().st_size - 10
    with pytest.raises(BetonError, match=r"cannot be read: 10 of \d+ bytes at \d+\. Try again"):
        list(loader)
