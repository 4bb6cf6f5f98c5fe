"""How images are shared out: what holds for any images, tried on random ones."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from formwork.datasets.splits import FREE, TEST, TRAIN, VAL, share_out
from formwork.params.sections import Split

DEFAULT = Split()
TWO_WAYS = Split(test=0)
RULES = [
    DEFAULT,
    TWO_WAYS,
    Split(val=0.5, test=0.25),
    Split(val=0.6, test=0),
    Split(folds=5, fold=0),
    Split(folds=3, fold=2, test=0),
]
SIZES = [1, 2, 3, 4, 7, 10, 39, 40, 97]


def contents(number: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (number, 32), dtype=np.uint8)


def paths(number: int) -> list[str]:
    return [f"cat/{i:04d}.png" for i in range(number)]


def share(sha256: np.ndarray, split: Split = DEFAULT, names: Sequence[str] | None = None, **more: object) -> np.ndarray:
    return share_out(sha256, paths(len(sha256)) if names is None else names, split, **more)


def counts(found: np.ndarray) -> list[int]:
    """The number of images in train, val and test."""
    return np.bincount(found, minlength=3).tolist()


def crossings(before: np.ndarray, after: np.ndarray) -> tuple[int, int]:
    """How many images crossed the border of test, and of all others that of val."""
    of_test = (before == TEST) != (after == TEST)
    return int(of_test.sum()), int(((before != after) & ~of_test).sum())


# --- Shares ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "expected"),
    [(39, [27, 8, 4]), (40, [28, 8, 4]), (20, [14, 4, 2]), (10, [7, 2, 1]), (5, [3, 1, 1]), (1, [1, 0, 0])],
)
def test_a_small_class_has_its_shares_rounded(images: int, expected: list[int]) -> None:
    for seed in range(5):
        assert counts(share(contents(images, seed))) == expected


@pytest.mark.parametrize("split", RULES[:4])
def test_each_class_has_its_shares_within_one_image(split: Split) -> None:
    classes = np.repeat(np.arange(len(SIZES)), SIZES)
    for seed in range(20):
        found = share(contents(len(classes), seed), split, classes=classes)

        for label, size in enumerate(SIZES):
            train, val, test = counts(found[classes == label])
            assert train >= 1
            if size > 3:  # below, the image to train on comes first
                assert abs(val - split.val * size) < 1
            assert abs(test - split.test * size) < 1


def test_many_tiny_classes_have_their_shares_together() -> None:
    classes = np.repeat(np.arange(2000), 2)

    _, val, test = counts(share(contents(4000), classes=classes))

    assert 0.14 < val / 4000 < 0.22
    assert 0.07 < test / 4000 < 0.12


def test_a_large_class_is_cut_at_the_share_itself() -> None:
    few, many = contents(4000), contents(6000)
    many[:4000] = few

    assert (share(many)[:4000] == share(few)).all()
    assert abs(counts(share(many))[VAL] - 1200) < 6 * (6000 * 0.2 * 0.8) ** 0.5


def test_without_stratification_all_classes_have_the_shares_together() -> None:
    assert counts(share(contents(20), Split(stratify=False))) == [14, 4, 2]


@pytest.mark.parametrize("images", [30, 90, 4000])
def test_the_share_of_val_moves_nothing_in_test(images: int) -> None:
    in_test = [share(contents(images), Split(val=val)) == TEST for val in (0.1, 0.2, 0.7)]

    assert (in_test[0] == in_test[1]).all()
    assert (in_test[0] == in_test[2]).all()


@pytest.mark.parametrize("images", [30, 90, 4000])
def test_a_larger_share_only_adds(images: int) -> None:
    small, large = (share(contents(images), Split(val=val, test=0)) == VAL for val in (0.2, 0.3))

    assert (large[small]).all()


# --- What moves -------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", RULES[:4])
def test_one_image_more_moves_at_most_one_other_across_each_border(split: Split) -> None:
    for start in (0, 30, 95, 395, 880):
        images = contents(start + 61, start)
        before = share(images[:start], split)
        for number in range(start + 1, start + 61):
            after = share(images[:number], split)
            of_test, of_val = crossings(before, after[:-1])
            assert of_test <= 1
            assert of_val <= 1
            assert of_test == 0 or split.test
            before = after


def test_no_image_of_a_large_class_ever_moves() -> None:
    images = contents(2300)
    before = share(images[:2000])
    for number in range(2001, 2300, 13):
        after = share(images[:number])
        assert (after[: len(before)] == before).all()
        before = after


def test_relabelling_an_image_moves_at_most_one_other_of_either_class_across_each_border() -> None:
    rng = np.random.default_rng(3)
    images, classes = contents(90), np.repeat([0, 1, 2], [40, 39, 11])
    for split in (DEFAULT, TWO_WAYS):
        before = share(images, split, classes=classes)
        for number in rng.permutation(90)[:40]:
            other = classes.copy()
            other[number] = (classes[number] + 1) % 3
            after = share(images, split, classes=other)
            others = np.arange(90) != number
            for label in (classes[number], other[number]):
                its = others & (classes == label)
                assert max(crossings(before[its], after[its])) <= 1
            assert (before == after)[others & (classes != classes[number]) & (classes != other[number])].all()


@pytest.mark.parametrize("split", RULES)
def test_names_of_classes_paths_and_the_order_of_images_count_for_nothing(split: Split) -> None:
    rng = np.random.default_rng(5)
    images, classes = contents(200), rng.integers(0, 5, 200)
    images[10:15] = images[30:35]  # copies, of other classes for the most part
    before = share(images, split, classes=classes)
    order = rng.permutation(200)

    after = share(images[order], split, [f"elsewhere/{i}" for i in range(200)], classes=7 - classes[order])

    assert (after == before[order]).all()


def test_another_copy_of_an_image_moves_nothing() -> None:
    images = contents(40)
    for number in range(10):
        assert (share(np.concatenate([images, images[[number]]]))[:40] == share(images)).all()


# --- What stays together ------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["content", "path"])
@pytest.mark.parametrize("split", RULES)
def test_equal_files_never_straddle(split: Split, by: str) -> None:
    rng = np.random.default_rng(1)
    originals = rng.integers(0, 60, 150)
    classes = rng.integers(0, 4, 150)

    found = share(contents(60)[originals], split.model_copy(update={"by": by}), classes=classes)

    assert all(len(set(found[originals == original])) == 1 for original in set(originals))
    assert len(set(found.tolist())) == 3 if split.test else 2


@pytest.mark.parametrize("split", RULES)
@pytest.mark.parametrize("stratify", [True, False])
def test_groups_never_straddle(split: Split, stratify: bool) -> None:
    rng = np.random.default_rng(2)
    numbers = rng.integers(0, 50, 400)
    images, classes = contents(400), rng.integers(0, 3, 400)
    images[7] = images[numbers != numbers[7]][0]  # one image in two groups, which it makes one
    names = [f"patient {number}" for number in numbers]

    found = share(images, split, groups=names, classes=classes if stratify else None)

    assert all(len(set(found[numbers == number])) == 1 for number in set(numbers))
    assert found[7] == found[numbers != numbers[7]][0]
    assert len(set(found.tolist())) == (3 if split.test else 2)


def test_groups_of_several_classes_have_the_shares_too() -> None:
    """As many images of either class in each group: no class has more of them."""
    groups, classes = [f"pair {number // 2}" for number in range(80)], np.arange(80) % 2

    for seed in range(5):
        assert counts(share(contents(80, seed), groups=groups, classes=classes)) == [56, 16, 8]


def test_a_group_stays_where_it_is_when_it_grows() -> None:
    names = [f"patient {number // 5}" for number in range(3000)]
    before = share(contents(3000), groups=names)

    after = share(contents(3002), groups=[*names, "patient 7", "patient 7"])

    assert max(crossings(before, after[:3000])) <= 5


def test_images_without_a_group_are_on_their_own() -> None:
    assert (share(contents(40), groups=[""] * 40) == share(contents(40))).all()


def test_images_that_are_said_to_belong_together_stay_together() -> None:
    clusters = np.full(100, FREE)
    clusters[:30] = np.arange(30) // 3

    found = share(contents(100), together=[clusters])

    assert all(len(set(found[clusters == cluster])) == 1 for cluster in range(10))


def test_units_of_any_size_are_as_likely_in_each_split() -> None:
    """A unit whose position were the lowest of its images' would be a test image too often."""
    clusters = np.arange(40_000) // 4

    _, val, test = counts(share(contents(40_000), together=[clusters]))

    assert abs(test - 4000) < 4 * 4 * (10_000 * 0.1 * 0.9) ** 0.5
    assert abs(val - 8000) < 4 * 4 * (10_000 * 0.2 * 0.8) ** 0.5


# --- Folds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[2], [5, 9], [40, 39, 13], [3000]])
@pytest.mark.parametrize(("folds", "test"), [(5, 0.1), (2, 0), (10, 0.3)])
def test_folds_are_disjoint_and_cover_all_that_is_not_test(sizes: list[int], folds: int, test: float) -> None:
    classes = np.repeat(np.arange(len(sizes)), sizes)
    found = [
        share(contents(len(classes)), Split(folds=folds, fold=i, test=test), classes=classes) for i in range(folds)
    ]

    in_test = [split == TEST for split in found]
    times_in_val = sum((split == VAL).astype(int) for split in found)
    assert all((mask == in_test[0]).all() for mask in in_test)
    rest = Counter(classes[~in_test[0]])
    alone = np.array([rest[label] == 1 for label in classes])  # the last of its class to train on
    assert (times_in_val[~in_test[0] & ~alone] == 1).all()
    for label, size in rest.items():
        parts = [int(((split == VAL) & (classes == label)).sum()) for split in found]
        if size < 400:
            assert max(parts) - min(parts) <= 1
        assert max(parts) < size


def test_many_tiny_classes_share_all_folds() -> None:
    classes = np.repeat(np.arange(1000), 2)
    in_val = [
        counts(share(contents(2000), Split(folds=5, fold=i, test=0), classes=classes))[VAL] / 2000 for i in range(5)
    ]

    assert all(0.1 < part < 0.3 for part in in_val)


def test_folds_ignore_val_and_splits_but_test_that_images_have() -> None:
    fixed = np.repeat([TRAIN, VAL, TEST], 20)
    one, other = (share(contents(60), Split(folds=4, fold=1, test=0, val=val), fixed=fixed) for val in (0.1, 0.6))

    assert (one == other).all()
    assert (one[40:] == TEST).all()
    assert counts(one) == [30, 10, 20]


# --- Splits that images have already ----------------------------------------------------------------------


def test_images_keep_the_split_that_they_have() -> None:
    rng = np.random.default_rng(4)
    fixed = rng.integers(FREE, 3, 200).astype(np.int8)

    found = share(contents(200), fixed=fixed)

    assert (found[fixed != FREE] == fixed[fixed != FREE]).all()
    free = fixed == FREE
    assert counts(found[free]) == [round(free.sum() * part) for part in (0.7, 0.2, 0.1)] or free.sum() % 10


def test_a_copy_of_an_image_that_has_a_split_goes_there() -> None:
    images = np.repeat(contents(3), 4, axis=0)
    fixed = np.array([FREE, TRAIN, VAL, TEST, FREE, FREE, TRAIN, VAL, FREE, FREE, FREE, TRAIN])

    found = share(images, fixed=fixed)

    assert found.tolist() == [TEST, TRAIN, VAL, TEST, VAL, VAL, TRAIN, VAL, TRAIN, TRAIN, TRAIN, TRAIN]


def test_no_images_are_no_error() -> None:
    assert share(np.empty((0, 32), np.uint8)).tolist() == []


# --- What decides -------------------------------------------------------------------------------------------


def test_by_path_a_replaced_image_stays_and_a_renamed_one_may_go() -> None:
    split = Split(by="path")
    before = share(contents(3000), split)

    assert (share(contents(3000, seed=1), split) == before).all()
    assert (share(contents(3000), split, [f"dog/{i}" for i in range(3000)]) != before).any()


def test_the_position_of_an_image_is_a_salted_sha256_as_the_docs_say() -> None:
    images = contents(6000)

    def position(digest: bytes) -> float:
        return int.from_bytes(hashlib.sha256(b"split content\0" + digest).digest()[8:16], "big") / 2**64

    places = np.array([position(bytes(image)) for image in images])
    assert (share(images) == np.where(places < 0.1, TEST, np.where(places >= 0.8, VAL, TRAIN))).all()
