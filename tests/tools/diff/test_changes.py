"""Each kind of change, alone and together, for every task; and states of random images, against a plain count."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from formwork.images.row import Columns
from formwork.tools.diff.changes import KINDS, Changes, compare
from formwork.tools.diff.images import Images
from formwork.tools.diff.summary import as_json, as_markdown, as_text, describe, rows_of
from tests.tools.diff.states import State, images

BEFORE = [("train", f"{name}/{n}.png", f"{name}{n}", name) for name in ("cat", "dog") for n in range(4)]
BEFORE += [("val", f"{name}/v.png", f"{name}v", name) for name in ("cat", "dog")]
MULTILABEL, AGES = Columns("multilabel", True), Columns("regression", True, ("age", "size"))


def changes(folder: Path, before: State, after: State, *columns: Columns) -> Changes:
    first, second = columns or (Columns(), Columns())
    return compare(images(folder, before, first), images(folder, after, second))


def counts(found: Changes) -> dict[str, int]:
    """The totals that are not 0."""
    return {kind: number for kind, number in found.totals.items() if number}


def edited(**edits: tuple[str, str, str, object] | None) -> list[tuple[str, str, str, object]]:
    """BEFORE with images of some contents changed, or taken away."""
    after = [edits.get(row[2], row) for row in BEFORE]
    return [row for row in after if row is not None]


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (BEFORE, {}),
        ([*BEFORE, ("train", "cow/1.png", "new", "cow")], {"added": 1}),
        (edited(cat0=None, dogv=None), {"removed": 2}),
        (edited(cat0=("train", "cat/0.png", "new", "cat")), {"replaced": 1}),
        (edited(cat0=("val", "cat/0.png", "new", "dog")), {"replaced": 1}),
        (edited(cat0=("train", "dog/cat0.png", "cat0", "dog")), {"relabelled": 1}),
        (edited(cat0=("train", "cat/0.png", "cat0", "dog")), {"relabelled": 1}),
        (edited(cat0=("val", "cat/0.png", "cat0", "cat")), {"moved": 1}),
        (edited(cat0=("val", "dog/0b.png", "cat0", "dog")), {"relabelled": 1, "moved": 1}),
        (edited(cat0=("train", "cat/other.png", "cat0", "cat")), {"renamed": 1}),
        # A file takes the name of another: content says which image is which.
        (edited(cat0=("train", "cat/1.png", "cat0", "cat"), cat1=None), {"renamed": 1, "removed": 1}),
        (edited(cat0=("train", "cat/1.png", "cat0", "cat"), cat1=("train", "cat/0.png", "cat1", "cat")),
         {"renamed": 2}),
        (edited(cat0=("train", "cat/x.png", "cat0", "cat"), cat1=("train", "cat/0.png", "new", "cat")),
         {"renamed": 1, "removed": 1, "added": 1}),
        ([], {"removed": 10}),
    ],
)  # fmt: skip
def test_each_change_is_counted_as_what_it_is(tmp_path, after, expected):
    assert counts(changes(tmp_path, BEFORE, after)) == expected


def test_copies_are_matched_with_what_is_most_like_them(tmp_path):
    before = [("train", "cat/1.png", "x", "cat"), ("val", "dog/1.png", "x", "dog"), ("val", "dog/2.png", "x", "dog")]
    assert counts(changes(tmp_path, before, [("val", "dog/9.png", "x", "dog")])) == {"removed": 2, "renamed": 1}
    assert counts(changes(tmp_path, before, before[1:])) == {"removed": 1}
    assert counts(changes(tmp_path, before[:1], before)) == {"added": 2}
    (pair,) = changes(tmp_path, before, [("train", "dog/9.png", "x", "dog")]).pairs.tolist()
    assert pair == [1, 0]  # the same label before the same split, and the first of those
    found = changes(tmp_path, before, [("train", "dog/1.png", "new", "dog"), ("val", "dog/2.png", "x", "dog")])
    assert counts(found) == {"replaced": 1, "removed": 1}


def test_classes_add_up(tmp_path):
    after = edited(
        cat0=None, cat1=("val", "dog/n.png", "cat1", "dog"), cat2=("train", "cat/2.png", "new", "cat"), dog0=None
    )
    found = changes(tmp_path, BEFORE, [*after, ("train", "cow/1.png", "cow1", "cow")])
    by_class = as_json(found, sides())["by_class"]
    assert by_class["cat"] == {
        "before": 5, "after": 3, "added": 0, "removed": 1, "replaced": 1, "relabelled": 0, "relabelled_away": 1,
        "moved": 0, "renamed": 0,
    }  # fmt: skip
    assert by_class["cow"]["added"] == by_class["cow"]["after"] == 1
    for kind, total in found.totals.items():
        assert sum(counts[kind] for counts in by_class.values()) == total
    for one in by_class.values():
        gained = one["added"] - one["removed"] + one["relabelled"] - one["relabelled_away"]
        assert one["before"] + gained == one["after"]
    assert found.moves() == [("train", "val", 1)]
    assert found.relabellings(5) == [("cat", "dog", 1)]


def sides() -> list[object]:
    from formwork.tools.diff.sides import Side

    return [Side(name, None, "photos", "") for name in ("v1", "workspace")]


def test_labels_of_an_image_are_a_set(tmp_path):
    before = [
        ("train", "1.png", "1", ("car", "person")), ("train", "2.png", "2", ()), ("train", "3.png", "3", ("car",)),
        ("val", "4.png", "4", ("dog",)),
    ]  # fmt: skip
    after = [
        ("train", "1.png", "1", ("person", "tree")), ("train", "2.png", "2", ("car",)), ("train", "3.png", "3", ()),
        ("val", "4.png", "4", ("dog",)), ("val", "5.png", "5", ("dog", "tree")),
    ]  # fmt: skip
    found = changes(tmp_path, before, after, MULTILABEL, MULTILABEL)
    assert counts(found) == {"added": 1, "relabelled": 3}
    assert found.classes.names == ("car", "dog", "person", "tree")
    by_class = {kind: numbers.tolist() for kind, numbers in found.by_class.items()}
    assert by_class["before"] == [2, 1, 1, 0]
    assert by_class["after"] == [1, 2, 1, 2]
    assert by_class["relabelled"] == [1, 0, 0, 1]
    assert by_class["relabelled_away"] == [2, 0, 0, 0]
    assert by_class["added"] == [0, 1, 0, 1]
    assert set(found.relabellings(9)) == {("car, person", "person, tree", 1), ("", "car", 1), ("car", "", 1)}


def test_a_label_becomes_one_of_several(tmp_path):
    """A table that had one label an image, and now may have several: an image with the same one is not relabelled."""
    before = [("train", "1.png", "1", "cat"), ("train", "2.png", "2", "dog")]
    after = [("train", "1.png", "1", ("cat",)), ("train", "2.png", "2", ("cat", "dog"))]
    found = changes(tmp_path, before, after, Columns("classes", True), MULTILABEL)
    assert counts(found) == {"relabelled": 1}
    assert found.by_class["relabelled"].tolist() == [1, 0]
    assert "The task was classes, and is multilabel." in as_text(found, "title")


def test_numbers_are_compared_as_numbers(tmp_path):
    before = [
        ("train", "1.png", "1", (1.0, -0.0)),
        ("train", "2.png", "2", (2.5, 3.0)),
        ("val", "3.png", "3", (1e-9, 1)),
    ]
    after = [("train", "1.png", "1", (1, 0.0)), ("train", "2.png", "2", (2.5, 3.5)), ("train", "3.png", "3", (1e-9, 1))]
    found = changes(tmp_path, before, after, AGES, AGES)
    assert counts(found) == {"relabelled": 1, "moved": 1}
    assert found.relabellings(5) == [("age=2.5, size=3", "age=2.5, size=3.5", 1)]
    assert as_json(found, sides())["by_class"] == {}
    assert "2.png: age=2.5, size=3 -> age=2.5, size=3.5" in as_text(found, "title")


def test_targets_of_another_kind_are_all_others(tmp_path):
    numbers = [("train", "1.png", "1", (1.0, 2.0))]
    assert counts(changes(tmp_path, [("train", "1.png", "1", "cat")], numbers, Columns(), AGES)) == {"relabelled": 1}
    other = Columns("regression", True, ("age",))
    found = changes(tmp_path, numbers, [("train", "1.png", "1", (1.0,))], AGES, other)
    assert counts(found) == {"relabelled": 1}
    assert "every image counts as relabelled" in as_markdown(found, "title")


@pytest.mark.parametrize("seed", range(20))
def test_any_two_states(tmp_path, seed):
    """Few contents, paths and classes, so that all that can collide does; and the counts do not depend on direction."""
    rng = np.random.default_rng(seed)
    before, after = (_random(rng) for _ in range(2))
    there, back = changes(tmp_path, before, after), changes(tmp_path, after, before)
    for found, first, second in ((there, before, after), (back, after, before)):
        _check(found, first, second)
    swapped = {"added": "removed", "removed": "added"}
    assert back.totals == {kind: there.totals[swapped.get(kind, kind)] for kind in KINDS}
    assert counts(changes(tmp_path, before, before)) == {}


def _random(rng: np.random.Generator) -> list[tuple[str, str, str, object]]:
    paths = rng.permutation(20)[: rng.integers(1, 20)]
    draw = [rng.choice(values, len(paths)) for values in (["train", "val"], list("xyzuvw"), ["cat", "dog", "cow"])]
    return [(str(s), f"{p}.png", str(c), str(t)) for p, s, c, t in zip(paths, *draw, strict=True)]


def _check(found: Changes, before: State, after: State) -> None:
    first, second = _sorted(before), _sorted(after)
    assert len(set(found.pairs[:, 0])) == len(set(found.pairs[:, 1])) == len(found.pairs)
    assert sorted([*found.pairs[:, 0], *found.removed]) == list(range(len(first)))
    assert sorted([*found.pairs[:, 1], *found.added]) == list(range(len(second)))
    contents = [Counter(row[2] for row in state) for state in (first, second)]
    assert np.count_nonzero(~found.replaced) == (contents[0] & contents[1]).total()
    for (a, b), *flags in zip(found.pairs, found.replaced, found.relabelled, found.moved, found.renamed, strict=True):
        old, new = first[a], second[b]
        same = [x == y for x, y in zip(old, new, strict=True)]  # split, path, content, target
        expected = [not same[2], same[2] and not same[3], same[2] and not same[0]]
        assert flags == [*expected, not any(expected) and not same[1]]
        assert same[1] or same[2]
    left = [{state[row][1] for row in rows} for state, rows in ((first, found.removed), (second, found.added))]
    assert not left[0] & left[1]  # those would be replaced


def _sorted(state: State) -> list[tuple[str, str, str, object]]:
    return sorted(state, key=lambda row: (["train", "val"].index(row[0]), row[1]))


def test_many_classes_and_names_that_steer_a_terminal(tmp_path):
    after = [("train", f"c{n}/\x1b[31m{n}.png", f"{n}", f"c{n}\x1b|") for n in range(50)]
    found = changes(tmp_path, BEFORE, after)
    for text in (as_text(found, "title"), as_markdown(found, "title")):
        assert "\x1b" not in text
        assert "22 more with fewer changes" in text  # of 52, and 30 are shown
    before_rows, after_rows = rows_of(found, "added")
    assert describe(found, "added", before_rows[:1], after_rows[:1]) == ["c0/\\x1b[31m0.png"]


def test_a_name_that_is_no_utf_8_is_one_name(tmp_path):
    name = b"cat/\xff.png".decode("utf-8", "surrogateescape")
    found = changes(tmp_path, BEFORE, [*BEFORE, ("train", name, "new", "cat")])
    assert counts(found) == {"added": 1}
    assert "cat/\\udcff.png" in as_text(found, "title")


def test_images_without_a_test_split(tmp_path):
    state = images(tmp_path, BEFORE)
    assert isinstance(state, Images)
    assert len(state) == len(BEFORE)
