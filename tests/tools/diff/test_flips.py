"""What flipped between two models, and how much of it was on images that were touched."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from formwork.errors import FormworkError
from formwork.evaluation.predictions_file import StoredPredictions
from formwork.images.manifest import binary
from formwork.images.row import Columns
from formwork.tools.diff.changes import compare
from formwork.tools.diff.flips import Flips, compare_predictions
from tests.tools.diff.states import State, images

MULTILABEL, AGES = Columns("multilabel", True), Columns("regression", True, ("age",))


def predictions(task: str, names: tuple[str, ...], answers: dict[str, tuple[object, object]]) -> StoredPredictions:
    """From (target, predicted) by content: names of classes, sets of labels, or numbers."""
    digests = np.array([list(hashlib.sha256(content.encode()).digest()) for content in answers], np.uint8)

    def column(values: list) -> np.ndarray:
        if task == "classes":
            return np.array([names.index(value) for value in values], np.int64)
        if task == "multilabel":
            return np.array([[name in value for name in names] for value in values])
        return np.array(values, np.float64)[:, None]

    targets, predicted = (column([pair[side] for pair in answers.values()]) for side in range(2))
    return StoredPredictions(task, names, binary(digests.reshape(-1, 32)), targets, predicted, None)  # type: ignore[arg-type]


def flips(
    folder: Path, before: State, after: State, first: StoredPredictions, second: StoredPredictions, columns: Columns
) -> Flips:
    return compare_predictions(compare(images(folder, before, columns), images(folder, after, columns)), first, second)


def test_flips_of_classes(tmp_path):
    before = [("train", f"{name}/t.png", f"t{name}", name) for name in ("cat", "dog", "cow")]
    before += [("val", f"{name}/{n}.png", f"{name}{n}", name) for name in ("cat", "dog", "cow") for n in range(3)]
    after = [row for row in before if row[2] not in ("cat0", "cat1", "tdog", "cow2")]
    after += [
        ("val", "dog/cat0.png", "cat0", "dog"),
        ("val", "cat/1.png", "new", "cat"),
        ("train", "cow/2.png", "cow2", "cow"),
    ]
    was = {name: (name[:3], name[:3]) for _, _, name, _ in before if name[0] != "t"} | {"dog1": ("dog", "cat")}
    now = {name: (name[:3], name[:3]) for _, _, name, _ in after if name[0] != "t" and name not in ("new", "cow2")}
    # cat0 was relabelled, and is now called so; cat1 was replaced; dog1 is right now, cow0 is wrong now.
    now |= {"cat0": ("dog", "dog"), "new": ("cat", "dog"), "dog1": ("dog", "dog"), "cow0": ("cow", "ant")}
    found = flips(
        tmp_path, before, after,
        predictions("classes", ("cat", "cow", "dog"), was),
        predictions("classes", ("ant", "cat", "cow", "dog"), now), Columns(),
    )  # fmt: skip
    expected = {
        "compared": 8,  # of 9, cow2 is trained with now
        "compared_touched": 2,
        "flipped": 4,
        "flipped_touched": 2,
        "compared_in_touched_classes": 6,  # a dog was taken from the training images, and a cow put there
        "flipped_in_touched_classes": 3,
        "fixed": 2,  # cat0, by the label that it has now, and dog1
        "broken": 1,
        "accuracy_before": 5 / 7,
        "accuracy_after": 6 / 7,
    }
    assert found.figures == pytest.approx(expected)
    text = "\n".join(found.lines())
    assert "4 flipped (50.0%)" in text
    assert "2 of them (50.0%) on images that were replaced, relabelled or moved, which are 25.0% of all" in text
    assert "accuracy 71.43% before, 85.71% after, on the 7 images of the same content" in text


def test_flips_of_labels(tmp_path):
    state = [("train", "t.png", "t", ("a",)), ("val", "1.png", "1", ("a", "b")), ("val", "2.png", "2", ())]
    before = predictions("multilabel", ("a", "b"), {"1": ({"a", "b"}, {"a"}), "2": (set(), set())})
    after = predictions("multilabel", ("0", "a", "b"), {"1": ({"a", "b"}, {"a", "b"}), "2": (set(), {"0"})})
    figures = flips(tmp_path, state, state, before, after, MULTILABEL).figures
    assert (figures["flipped"], figures["fixed"], figures["broken"], figures["flipped_touched"]) == (2, 1, 1, 0)


def test_numbers_do_not_flip(tmp_path):
    state = [("val", "1.png", "1", (10.0,)), ("val", "2.png", "2", (20.0,))]
    before = predictions("regression", ("age",), {"1": (10, 11), "2": (20, 23)})
    after = predictions("regression", ("age",), {"1": (10, 10.5), "2": (20, 20.5)})
    found = flips(tmp_path, state, state, before, after, AGES)
    assert found.figures == {
        "compared": 2,
        "compared_touched": 0,
        "mae_before": {"age": 2.0},
        "mae_after": {"age": 0.5},
    }
    assert "mean absolute error of age 2 before, 0.5 after" in "\n".join(found.lines())
    with pytest.raises(FormworkError, match="other tasks"):
        flips(tmp_path, state, state, before, predictions("classes", ("a",), {"1": ("a", "a")}), AGES)


def test_models_that_were_evaluated_on_other_images(tmp_path):
    state = [("val", "1.png", "1", "a"), ("val", "2.png", "2", "a")]
    one, other = (predictions("classes", ("a",), {content: ("a", "a")}) for content in "12")
    found = flips(tmp_path, state, state, one, other, Columns())
    assert found.figures["compared"] == 0
    assert found.figures["accuracy_after"] is None
    assert list(found.lines())[1:] == ["0 flipped (0.0%)"]
