"""Each contender gives the same kind of batches, on real images."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from benchmarks import contenders
from benchmarks.contenders import MEAN, STD
from benchmarks.loader_process import Job, Load
from benchmarks.workloads import CLASSES, Prepared
from formwork.beton.read import open_beton
from formwork.loading.ffcv.import_ffcv import Compiler  # FFCV's, which then leaves numba's types as they are
from tests.benchmarks.conftest import BATCH, IMAGES

KINDS = ("photo", "tiny", "digit")
LOADS = (
    contenders.pytorch_pil,
    contenders.pytorch_torchvision,
    contenders.formwork_pytorch,
    contenders.formwork_ffcv,
)


def check(load: Load, job: Job) -> None:
    """An epoch of whole batches, whose images are normalised: undone, they range from black to white."""
    batches = [(images.clone(), labels.clone()) for images, labels in load(job)()]

    assert [len(labels) for _, labels in batches] == [BATCH] * (IMAGES // BATCH)
    images = torch.cat([images for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    assert images.shape == (len(labels), 3, job.side, job.side)
    assert images.dtype == torch.float32
    assert set(labels.tolist()) <= set(range(CLASSES))
    assert len(set(labels.tolist())) > 2
    pixels = images * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    assert -1e-4 < pixels.min() < 0.1
    assert 0.9 < pixels.max() < 1 + 1e-4
    for channel in pixels.transpose(0, 1):
        assert 0.2 < channel.mean() < 0.7
    assert not torch.equal(images[0], images[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("load", LOADS)
def test_a_contender_gives_normalised_batches(load: Load, kind: str, prepared: Callable[[str], Prepared]) -> None:
    check(load, prepared(kind).job(workers=1))


def test_resized_images_are_loaded_like_the_originals(prepared: Callable[[str], Prepared]) -> None:
    check(contenders.pytorch_pil, prepared("photo").job(workers=1, resized=True))


@pytest.fixture
def plain_python() -> Iterator[None]:
    """FFCV compiles each Loader for seconds; the code it compiles runs as it stands, too."""
    Compiler.set_enabled(False)
    yield
    Compiler.set_enabled(True)


@pytest.mark.usefixtures("plain_python")
@pytest.mark.parametrize("kind", KINDS)
def test_stock_ffcv_gives_normalised_batches(kind: str, prepared: Callable[[str], Prepared]) -> None:
    check(contenders.stock_ffcv, prepared(kind).job(workers=1))


def test_the_limit_decodes_every_jpeg_of_the_beton(
    prepared: Callable[[str], Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    from formwork.kernels import libjpeg

    photos = prepared("photo")
    sizes: list[tuple[int, int]] = []
    library = libjpeg.library()

    class Watched:
        tjInitDecompress, tjDestroy = library.tjInitDecompress, library.tjDestroy

        def tjDecompress2(self, handle, data, size, pixels, width, pitch, height, *rest):
            assert library.tjDecompress2(handle, data, size, pixels, width, pitch, height, *rest) == 0
            sizes.append((width, height))

    monkeypatch.setattr(libjpeg, "library", Watched)
    ((images, labels),) = contenders.bare_libjpeg(photos.job(workers=2))()

    beton = open_beton(photos.beton)
    assert images is None
    assert np.array_equal(labels, beton.labels)
    assert sorted(sizes) == sorted(zip(beton.widths.tolist(), beton.heights.tolist(), strict=True))
    assert {max(size) for size in sizes} == {256}
