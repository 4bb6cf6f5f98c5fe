"""RandAugment and its like choose what torchvision's choose, as often, and do the same, on real photos."""

from collections import Counter

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import v2

from formwork.loading.augmentation import NATIVE
from formwork.loading.augmentation.augmix import AugMix, dirichlet
from formwork.loading.augmentation.base import UNIT, Draw
from formwork.loading.augmentation.policies import HEAD, NAMES, Policy
from formwork.loading.augmentation.steps import WIDTH, carried_out, steps
from tests.loading.augmentation.test_torchvision import PHOTOS, changed, far

SIDE = 64
EXACT = {"Identity", "Posterize", "Solarize", "AutoContrast", "Equalize", "Invert"}
LIMIT = 0.001  # chance of a fair generator to fail; these numbers are always the same
POLICIES = [
    ("RandAugment", {"num_ops": 1}),
    ("RandAugment", {"num_ops": 3, "magnitude": 30}),
    ("RandAugment", {"num_ops": 1, "magnitude": 2, "num_magnitude_bins": 7}),
    ("TrivialAugmentWide", {}),
    ("TrivialAugmentWide", {"num_magnitude_bins": 2}),
    ("AutoAugment", {}),
    ("AutoAugment", {"policy": "cifar10"}),
    ("AutoAugment", {"policy": "svhn"}),
    ("AugMix", {"severity": 10}),
    ("AugMix", {"all_ops": False, "chain_depth": 2}),
]


def of_torchvision(name: str, arguments: dict, **more) -> v2.Transform:
    """torchvision's operation, with a list `done` of (name, magnitude) in place of pixels."""

    class Recording(getattr(v2, name)):
        def _apply_image_or_video_transform(self, image, transform_id, magnitude, interpolation, fill):
            self.done.append((transform_id, magnitude))
            return image

    if "policy" in arguments:
        arguments = arguments | {"policy": v2.AutoAugmentPolicy(arguments["policy"])}
    operation = Recording(**arguments, **more)
    operation.done = []
    return operation


def chosen(policy: Policy, count: int) -> np.ndarray:
    """(count, n, WIDTH): the steps of so many images."""
    values = policy.draw(Draw(3, 1, np.arange(count), "test"), SIDE)
    start = HEAD + 1 + policy.chains if isinstance(policy, AugMix) else HEAD
    return values[:, start:].reshape(count, -1, WIDTH)


@pytest.mark.parametrize(("name", "arguments"), POLICIES)
def test_operations_and_magnitudes_are_chosen_as_often_as_by_torchvision(name, arguments):
    """What is done to an image, all of it, or of several operations any one, is a kind; kinds are counted."""
    count, together = 3000, name == "AutoAugment"
    ours, theirs = Counter(), Counter()
    for image in chosen(NATIVE[name](**arguments), count).tolist():
        done = [tuple(step) for step in image if any(step)]
        ours.update([tuple(done)] if together else done)
    operation = of_torchvision(name, arguments)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(count):
            operation.done.clear()
            operation(torch.zeros(3, SIDE, SIDE, dtype=torch.uint8))
            done = [tuple(steps(one, np.array([magnitude]), SIDE)[0].tolist()) for one, magnitude in operation.done]
            done = [step for step in done if any(step)]
            theirs.update([tuple(done)] if together else done)
    frequent = [kind for kind in {**ours, **theirs} if ours[kind] + theirs[kind] >= 20]
    table = np.array([[counts[kind] for kind in frequent] for counts in (ours, theirs)])
    rest = [counts.total() - row.sum() for counts, row in zip((ours, theirs), table, strict=True)]
    table = np.hstack([table, np.array(rest)[:, None] + 1])
    assert stats.chi2_contingency(table).pvalue > LIMIT


@pytest.mark.parametrize(
    ("interpolation", "fill"), [("nearest", None), ("bilinear", None), ("bilinear", [9, 200, 0]), ("nearest", 128)]
)
@pytest.mark.parametrize("name", ["RandAugment", "TrivialAugmentWide", "AutoAugment", "AugMix"])
def test_each_operation_is_torchvisions_at_each_magnitude(name, interpolation, fill):
    theirs = getattr(v2, name)(interpolation=v2.InterpolationMode(interpolation), fill=fill)
    ours = NATIVE[name](interpolation=interpolation, fill=fill)
    for image in (PHOTOS[1], PHOTOS[3], PHOTOS[4], PHOTOS[-4]):
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        for one, (magnitudes, signed) in theirs._AUGMENTATION_SPACE.items():
            found = magnitudes(10, len(image), len(image))
            found = torch.zeros(1) if found is None else found[:: 3 if signed else 1]
            for magnitude in [float(m) * sign for m in found for sign in ((1, -1) if signed else (1,))]:
                expected = theirs._apply_image_or_video_transform(
                    pixels, one, magnitude, theirs.interpolation, theirs._fill
                )
                step = steps(one, np.array([magnitude]), len(image))[0].tolist()
                result = carried_out(pixels, step, ours.interpolation, ours.fill.tolist())
                distance = far(result.permute(1, 2, 0).numpy(), expected)
                assert distance <= (one not in EXACT), (one, magnitude)


@pytest.mark.parametrize(("name", "arguments"), POLICIES)
def test_both_forms_do_the_same_to_photos(name, arguments):
    operation = NATIVE[name](**arguments)
    values = operation.draw(Draw(5, 0, np.arange(4 * len(PHOTOS)), "test"), SIDE)
    for image, row in zip(PHOTOS * 4, values, strict=True):
        changed(operation, image, row[None])


def test_operations_of_an_image_are_independent():
    found = chosen(NATIVE["RandAugment"](magnitude=30), 6000)
    first, second = found[:, 0, 0], found[:, 1, 0]
    table = np.array([[((first == a) & (second == b)).sum() for a in set(first)] for b in set(second)])
    assert stats.chi2_contingency(table).pvalue > LIMIT
    assert len(NATIVE["RandAugment"](num_ops=0).draw(Draw(0, 0, np.arange(3), ""), SIDE)[0]) == HEAD


@pytest.mark.parametrize("width", [1, 3, 5])
def test_chains_are_mixed_as_by_torchvision(width):
    """The chains and weights that were drawn, given to torchvision; of severity 1, which has one magnitude each."""
    ours = NATIVE["AugMix"](severity=1, mixture_width=width, chain_depth=2)
    space = v2.AugMix._AUGMENTATION_SPACE
    by_step = {tuple(ours.choices(SIDE)[i, 0, 0]): name for i, name in enumerate(ours.names)}

    class Given(v2.AugMix):
        def _get_random_item(self, dct):
            name = self.names.pop(0)
            return name, space[name]

        def _sample_dirichlet(self, params):
            return self.weights.pop(0)

    theirs = Given(severity=1, mixture_width=width, chain_depth=2)
    for i, image in enumerate((PHOTOS[1], PHOTOS[3]) * 10):
        values = ours.draw(Draw(0, 0, np.arange(i, i + 1), "test"), SIDE)
        weights = torch.from_numpy(values[0, HEAD : HEAD + 1 + width] / UNIT).float()
        if weights[0] == 1:
            continue
        theirs.weights = [torch.tensor([[weights[0], 1 - weights[0]]]), (weights[1:] / (1 - weights[0]))[None]]
        of_one = values[0, HEAD + 1 + width :].reshape(-1, WIDTH).tolist()
        theirs.names = [by_step[tuple(step)] for step in of_one if tuple(step) in by_step]
        assert len(theirs.names) == 2 * width
        assert far(changed(ours, image, values), theirs(torch.from_numpy(image).permute(2, 0, 1))) <= 1


@pytest.mark.parametrize("alpha", [0.001, 0.1, 1, 7, 1000])
def test_weights_are_dirichlet_distributed(alpha):
    shares = dirichlet(alpha, np.random.default_rng(0).random((4000, 3)))
    assert shares.sum(axis=1) == pytest.approx(1)
    assert stats.kstest(shares[:, 1], stats.beta(alpha, 2 * alpha).cdf).pvalue > LIMIT or alpha < 0.01
    assert shares.mean(axis=0) == pytest.approx(1 / 3, abs=0.03)
    assert shares.var(axis=0) == pytest.approx(2 / 9 / (3 * alpha + 1), rel=0.1)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("RandAugment", {"magnitude": 31}, "magnitude must be a whole number from 0 to 30, and is 31"),
        ("RandAugment", {"num_magnitude_bins": 1}, "num_magnitude_bins must be a whole number from 2"),
        ("RandAugment", {"interpolation": "bicubic"}, "interpolation must be one of nearest, bilinear, and is"),
        ("AutoAugment", {"policy": "mnist"}, "policy must be one of imagenet, cifar10, svhn, and is 'mnist'"),
        ("AugMix", {"severity": 11}, "severity must be a whole number from 1 to 10, and is 11"),
        ("AugMix", {"all_ops": 1}, "all_ops must be true or false, and is 1"),
    ],
)
def test_wrong_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        NATIVE[name](**arguments)


def test_all_operations_are_chosen_from():
    assert set(NAMES) == set(v2.RandAugment._AUGMENTATION_SPACE) == set(v2.TrivialAugmentWide._AUGMENTATION_SPACE)
    assert set(AugMix().names) == set(v2.AugMix._AUGMENTATION_SPACE)
    assert set(AugMix(all_ops=False).names) == set(v2.AugMix._PARTIAL_AUGMENTATION_SPACE)
