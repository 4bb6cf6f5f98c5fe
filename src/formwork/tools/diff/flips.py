"""What a change of the data did to the predictions: those of two models, on the images that both were evaluated on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from formwork.errors import FormworkError
from formwork.escapes import printable
from formwork.evaluation.predictions_file import StoredPredictions
from formwork.images.manifest import SPLITS
from formwork.text import count
from formwork.tools.diff.changes import Changes

TRAIN = SPLITS.index("train")


@dataclass(frozen=True)
class Flips:
    """C images that both models were evaluated on.

    Attributes:
        names: of the K numbers that are predicted; none where those are classes or labels.
        pair: (C,) int64, places in Changes.pairs.
        same_content: (C,) bool, those that were not replaced.
        touched: (C,) bool, those that were replaced, relabelled or moved.
        in_touched_class: (C,) bool, those with a label, after, that training images were given or lost.
        flipped: (C,) bool, those with another prediction; none where predictions are numbers.
        before, after: float64, how wrong each prediction is by the target after: (C,) 0 or 1, or (C, K) absolute errors
            of numbers.
    """

    names: tuple[str, ...]
    pair: np.ndarray
    same_content: np.ndarray
    touched: np.ndarray
    in_touched_class: np.ndarray
    flipped: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @property
    def figures(self) -> dict[str, Any]:
        """By the name in the JSON; accuracy and mean absolute errors are of the images whose content is the same."""
        same = self.same_content
        found: dict[str, Any] = {"compared": len(self.pair), "compared_touched": _count(self.touched)}
        if self.names:
            errors = [wrong[same].mean(axis=0).tolist() if same.any() else [] for wrong in (self.before, self.after)]
            before, after = (dict(zip(self.names, error, strict=False)) for error in errors)
            return found | {"mae_before": before, "mae_after": after}
        right = [1 - float(wrong[same].mean()) if same.any() else None for wrong in (self.before, self.after)]
        return found | {
            "flipped": _count(self.flipped),
            "flipped_touched": _count(self.flipped & self.touched),
            "compared_in_touched_classes": _count(self.in_touched_class),
            "flipped_in_touched_classes": _count(self.flipped & self.in_touched_class),
            "fixed": _count(same & (self.before > self.after)),
            "broken": _count(same & (self.before < self.after)),
            "accuracy_before": right[0],
            "accuracy_after": right[1],
        }

    def lines(self) -> Iterator[str]:
        """The figures in sentences."""
        figures = self.figures
        yield f"StoredPredictions on {count(len(self.pair), 'image')} that both models were evaluated on:"
        of_same = f"on the {count(_count(self.same_content), 'image')} of the same content, by the targets after"
        for name, before in figures.get("mae_before", {}).items():
            after = figures["mae_after"][name]
            yield f"mean absolute error of {printable(name)} {before:.4g} before, {after:.4g} after, {of_same}"
        if self.names:
            return
        flipped = _count(self.flipped)
        yield f"{flipped:,} flipped ({_share(flipped, len(self.pair))})"
        causes = {
            "on images that were replaced, relabelled or moved, which are": self.touched,
            "in classes whose training images changed, which hold": self.in_touched_class,
        }
        for what, chosen in causes.items() if flipped else ():
            both = _count(self.flipped & chosen)
            yield f"{both:,} of them ({_share(both, flipped)}) {what} {_share(_count(chosen), len(self.pair))} of all"
        if figures["accuracy_before"] is not None:
            yield (
                f"accuracy {figures['accuracy_before']:.2%} before, {figures['accuracy_after']:.2%} after, {of_same}: "
                f"{figures['fixed']:,} now right, {figures['broken']:,} now wrong"
            )


def _count(chosen: np.ndarray) -> int:
    return int(np.count_nonzero(chosen))


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "0.0%"


def compare_predictions(changes: Changes, before: StoredPredictions, after: StoredPredictions) -> Flips:
    """Compare the predictions of two models, one for each side.

    Raises:
        FormworkError: one predicts numbers and the other does not, or other numbers.
    """
    numbers = [side.task == "regression" for side in (before, after)]
    if numbers[0] != numbers[1] or (numbers[0] and before.names != after.names):
        raise FormworkError("The predictions are of other tasks and cannot be compared.")
    old = before.places(changes.before.contents)[changes.pairs[:, 0]]
    new = after.places(changes.after.contents)[changes.pairs[:, 1]]
    pair = np.flatnonzero((old >= 0) & (new >= 0))
    old, new = old[pair], new[pair]
    if numbers[0]:
        guesses = [before.predicted[old], after.predicted[new]]
        errors = [np.abs(guess - after.targets[new]) for guess in guesses]
        flipped = np.zeros(len(pair), bool)
    else:
        names = tuple(sorted({*before.names, *after.names}))
        guesses = [_labels(side.predicted[rows], side, names) for side, rows in ((before, old), (after, new))]
        target = _labels(after.targets[new], after, names)
        errors = [(guess != target).any(axis=1).astype(np.float64) for guess in guesses]
        flipped = (guesses[0] != guesses[1]).any(axis=1)
    return Flips(
        after.names if numbers[0] else (),
        pair,
        same_content=~changes.replaced[pair],
        touched=changes.touched[pair],
        in_touched_class=_touched_classes(changes, changes.pairs[pair, 1]),
        flipped=flipped,
        before=errors[0],
        after=errors[1],
    )


def _labels(values: np.ndarray, side: StoredPredictions, names: tuple[str, ...]) -> np.ndarray:
    """Labels of C images as columns that can be compared between models of other classes: (C, 1) int64 or (C, L) bool,
    by position in `names`."""
    place = np.searchsorted(np.array(names, object), np.array(side.names, object))
    if side.task == "classes":
        return place[values][:, None]
    columns = np.zeros((len(values), len(names)), bool)
    columns[:, place] = values
    return columns


def _touched_classes(changes: Changes, rows: np.ndarray) -> np.ndarray:
    """(C,) bool: whether an image after, by its row, has a label that training images gained or lost."""
    before, after = changes.targets
    old, new = changes.pairs[:, 0], changes.pairs[:, 1]
    changed = changes.touched
    classes = changes.classes
    touched = np.zeros(len(classes.names), np.int64)
    for codes, split, images in (
        (before, changes.before.split, np.concatenate([changes.removed, old[changed]])),
        (after, changes.after.split, np.concatenate([changes.added, new[changed]])),
    ):
        touched += classes.count(codes[images[split[images] == TRAIN]])
    return classes.any_of(after[rows], touched > 0)
