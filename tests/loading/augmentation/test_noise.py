"""Noise has the distribution that it should have, and that of one value says nothing about another."""

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from formwork.loading.augmentation.base import Draw
from formwork.loading.augmentation.noise import GaussianNoise, PoissonNoise
from tests.loading.augmentation.test_torchvision import PHOTOS

SIDE = 128
ONCE_IN_A_THOUSAND = 0.001  # chance of a fair generator to fail; these numbers are always the same


def noisy(operation, image: np.ndarray, count: int = 4, epoch: int = 0, purpose: str = "noise") -> np.ndarray:
    """(count, S, S, 3) uint8: images of one epoch."""
    images = np.tile(image, (count, 1, 1, 1))
    operation.kernel(images, operation.draw(Draw(5, epoch, np.arange(count), purpose), len(image)))
    return images


def flat(level: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), level, np.uint8)


def fits(found: np.ndarray, chances: np.ndarray) -> bool:
    """Whether levels are as frequent as their (256,) chances say: a chi-squared test of those expected five times."""
    counts, expected = np.bincount(found.ravel(), minlength=256), chances * found.size
    often = expected >= 5
    counts = np.append(counts[often], counts[~often].sum())
    expected = np.append(expected[often], expected[~often].sum())
    statistic = ((counts - expected) ** 2 / np.maximum(expected, 1)).sum()
    return len(counts) == 1 or stats.chi2.sf(statistic, len(counts) - 1) > ONCE_IN_A_THOUSAND


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(("mean", "sigma"), [(0, 0.1), (0.2, 0.02), (-0.1, 0.5), (0, 0.002), (0.1, 3)])
def test_gaussian_noise_is_normal_and_cut_off_towards_zero(mean, sigma, clip):
    operation = GaussianNoise(mean, sigma, clip)
    ends = np.arange(-6000, 6002)
    below = stats.norm.cdf(ends, 255 * mean, 255 * sigma)
    chances = np.diff(below)
    amounts = np.where(ends[:-1] >= 0, ends[:-1], ends[1:])  # what is from n to n + 1 counts n, or n + 1 below zero
    for level in (0, 3, 128, 255):
        changed = level + amounts
        changed = changed.clip(0, 255) if clip else changed % 256
        assert fits(noisy(operation, flat(level)), np.bincount(changed, chances, minlength=256))


@pytest.mark.parametrize("arguments", [{}, {"mean": -0.05, "sigma": 0.3}, {"sigma": 0.05, "clip": False}])
def test_gaussian_noise_on_a_photo_is_distributed_as_torchvisions(arguments):
    image = PHOTOS[0]
    ours = noisy(GaussianNoise(**arguments), image).astype(int) - image
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = v2.GaussianNoise(**arguments)
        theirs = torch.stack([noise(torch.from_numpy(image)) for _ in range(4)]).numpy().astype(int) - image
    assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > ONCE_IN_A_THOUSAND


@pytest.mark.parametrize("mean", [0, 0.1, -0.1, 5, -5])
def test_noise_of_no_width_adds_its_mean_alone(mean):
    expected = np.clip(PHOTOS[1].astype(int) + int(255 * mean), 0, 255)
    assert np.array_equal(noisy(GaussianNoise(mean, 0), PHOTOS[1])[0], expected)


@pytest.mark.parametrize("photons", [0.5, 3, 60, 255, 5000])
def test_photons_are_poisson_distributed(photons):
    operation = PoissonNoise(photons)
    counts = np.arange(20000)
    shown = np.minimum(np.floor(255 * counts / photons + 0.5), 255).astype(int)
    for level in (0, 1, 100, 255):
        chances = np.bincount(shown, stats.poisson.pmf(counts, level * photons / 255), minlength=256)
        found = noisy(operation, flat(level))
        assert fits(found, chances)
        if level == 100 and photons >= 60:
            assert abs(found.mean() - level) < 0.2
            assert found.var() == pytest.approx(level * 255 / photons + (0 if photons < 255 else 1 / 12), rel=0.03)


def test_noise_of_one_value_says_nothing_about_another():
    """Of another pixel, channel, image, epoch or operation."""
    operation = GaussianNoise(sigma=0.1)
    first = noisy(operation, flat(128)).astype(float) - 128
    others = {
        "pixels beside it": (first[:, :, 1:], first[:, :, :-1]),
        "pixels below it": (first[:, 1:], first[:, :-1]),
        "pixels of one block of random numbers": (first.reshape(-1, 64)[1:], first.reshape(-1, 64)[:-1]),
        "red and green": (first[..., 0], first[..., 1]),
        "green and blue": (first[..., 1], first[..., 2]),
        "images": (first[1:], first[:-1]),
        "epochs": (first, noisy(operation, flat(128), epoch=1).astype(float) - 128),
        "operations": (first, noisy(operation, flat(128), purpose="more noise").astype(float) - 128),
    }
    for name, (one, other) in others.items():
        correlation = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(correlation) < 4 / np.sqrt(one.size), name
