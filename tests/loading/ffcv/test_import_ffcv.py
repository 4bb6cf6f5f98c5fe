"""FFCV's own loader works as ever where it is imported from formwork.loading.ffcv.import_ffcv, and changes no types."""

import pytest
from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder
from ffcv.transforms import ToTensor
from numba import types

from formwork.loading.ffcv import import_ffcv

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("os_cache", [True, False])
def test_stock_ffcv_works_beside_it(split, os_cache):
    image = RandomResizedCropRGBImageDecoder((8, 8))
    pipelines = {"image": [image, ToTensor()], "label": [IntDecoder(), ToTensor()]}
    labels = []
    for images, numbers in import_ffcv.Loader(
        str(split.beton), 10, num_workers=1, os_cache=os_cache, pipelines=pipelines
    ):
        assert images.shape == (10, 8, 8, 3)
        labels += numbers.flatten().tolist()  # at once: FFCV overwrites its batches
    assert labels == split.manifest.labels.tolist()
    # FFCV itself makes these types read-only, for the whole process.
    assert all(array.mutable for array in (types.uint8[::1], types.uint8[:, ::1], types.uint64[::1], types.uint32[::1]))
