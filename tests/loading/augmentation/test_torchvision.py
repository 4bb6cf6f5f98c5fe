"""Pixel operations are those of torchvision with the same name, on real photos."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision.transforms import v2

from formwork.loading.augmentation import NATIVE
from formwork.loading.augmentation.base import Draw, PixelOperation
from formwork.loading.augmentation.colour import BRIGHTNESS, CONTRAST, HUE, SATURATION


def photos() -> list[np.ndarray]:
    """(S, S, 3) uint8: parts of two photos, of all sizes, some dark, flat, grey or of one colour."""
    whole = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    parts = [image.crop((100, 60, 460, 420)).resize((side, side)) for image in whole for side in (97, 64)]
    small = [whole[i].crop((300, 200, 300 + side, 200 + side)) for i, side in enumerate((2, 3)) for i in (0, 1)]
    images = [np.array(image) for image in (*parts, *small, whole[0].crop((200, 200, 201, 201)))]
    images += [images[0] // 9 + 3, images[2] // 2 + 100, images[1][:, :, :1].repeat(3, axis=2)]
    return [*images, np.full_like(images[0], (7, 0, 255))]


PHOTOS = photos()


def certain(name: str, arguments: dict) -> PixelOperation:
    operation = NATIVE[name](**arguments)
    assert isinstance(operation, PixelOperation)
    operation.p = 1.0
    return operation


def changed(operation: PixelOperation, image: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What the kernel makes of an image, and the torch function, too."""
    found = image[None].copy()
    operation.kernel(found, values)
    same = operation.function(torch.from_numpy(image).permute(2, 0, 1), values[0].tolist())
    assert np.array_equal(found[0], same.permute(1, 2, 0))
    return found[0]


def far(found: np.ndarray, expected: torch.Tensor) -> int:
    return np.abs(found.astype(int) - expected.permute(1, 2, 0).int().numpy()).max()


@pytest.mark.parametrize(
    ("name", "arguments", "tolerance"),
    [
        *(("RandomPosterize", {"bits": bits}, 0) for bits in (0, 1, 4, 7, 8)),
        *(("RandomSolarize", {"threshold": threshold}, 0) for threshold in (0, 99.5, 128, 255)),
        ("RandomInvert", {}, 0),
        ("RandomAutocontrast", {}, 0),
        ("RandomEqualize", {}, 0),
        ("RandomGrayscale", {}, 0),
        *(("RandomAdjustSharpness", {"sharpness_factor": factor}, 0) for factor in (0, 0.5, 1, 2, 13)),
        *(("RandomAdjustSharpness", {"sharpness_factor": factor}, 1) for factor in (0.1, 1.73)),
    ],
)
def test_what_is_done_is_torchvisions(name, arguments, tolerance):
    operation, theirs = certain(name, arguments), getattr(v2, name)(**arguments, p=1.0)
    for image in PHOTOS:
        values = operation.draw(Draw(0, 0, np.arange(1), ""), len(image))
        found = changed(operation, image, values)
        assert far(found, theirs(torch.from_numpy(image).permute(2, 0, 1))) <= tolerance


def test_autocontrast_is_exact_for_each_range():
    """Of 256 x 256 ranges: torchvision calculates with fractions."""
    operation = certain("RandomAutocontrast", {})
    for low in range(0, 256, 5):
        image = np.minimum(np.arange(low, low + 256), 255).astype(np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
        image = np.stack([np.minimum(image[..., 0], high) for high in (low, min(low + 3, 255), 200 + low // 5)], axis=2)
        found = changed(operation, image, operation.draw(Draw(0, 0, np.arange(1), ""), 16))
        assert not far(found, v2.functional.autocontrast(torch.from_numpy(image).permute(2, 0, 1)))


def test_a_photometric_distortion_is_torchvisions():
    """The numbers that were drawn, given to torchvision's; the steps are within 1 each, and contrast doubles that."""
    operation, theirs = NATIVE["RandomPhotometricDistort"](), v2.RandomPhotometricDistort()
    for i, image in enumerate(PHOTOS):
        values = operation.draw(Draw(0, 0, np.arange(i, i + 1), "test"), len(image))
        order, (brightness, contrast, saturation, turn) = values[0, :4].tolist(), (values[0, 4:8] / 2**14).tolist()
        params = {
            "brightness_factor": brightness,
            "contrast_factor": contrast,
            "saturation_factor": saturation,
            "hue_factor": turn / 6 if turn else None,
            "contrast_before": order == [BRIGHTNESS, CONTRAST, SATURATION, HUE],
            "channel_permutation": values[0, 8:].tolist(),
        }
        expected = theirs.transform(torch.from_numpy(image).permute(2, 0, 1), params)
        assert far(changed(operation, image, values), expected) <= 3


def test_each_step_of_a_photometric_distortion_happens_as_often_as_it_should():
    values = NATIVE["RandomPhotometricDistort"](p=0.3).draw(Draw(1, 0, np.arange(4000), "test"), 8)
    assert np.abs((values[:, 4:8] != [2**14, 2**14, 2**14, 0]).mean(axis=0) - 0.3).max() < 0.03
    assert abs((values[:, 1] == CONTRAST).mean() - 0.5) < 0.03
    assert abs((values[:, 8:] != [0, 1, 2]).any(axis=1).mean() - 0.3 * 5 / 6) < 0.03


def test_channels_are_permuted_in_each_order_as_often():
    values = NATIVE["RandomChannelPermutation"]().draw(Draw(1, 0, np.arange(3000), "test"), 8)
    orders, counts = np.unique(values, axis=0, return_counts=True)
    assert orders.tolist() == [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
    assert counts.min() > 400
