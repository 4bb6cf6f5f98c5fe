"""Which labels are likely wrong, from what models answered for images that they were not trained on.

Ranked are the images whose label is not what the model predicts, by the margin between the probabilities of the
prediction and of the label. Confident learning then says of which to be sure: the probability of the prediction is at
least the mean of that class over the images labelled with it, so that a model which is too sure of one class, or never
sure of another, sets the bar for each by itself. Northcutt, Jiang and Chuang, "Confident Learning: Estimating
Uncertainty in Dataset Labels", Journal of Artificial Intelligence Research 70, 2021, equations 1 and 2.
"""

from dataclasses import dataclass

import numpy as np

OUTLIER = 3.5  # robust standard deviations; Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993
MAD_OF_NORMAL = 0.6745  # median absolute deviation of the standard normal distribution


@dataclass(frozen=True)
class Suspects:
    """E images whose label may be wrong, the most suspicious first.

    Attributes:
        rows: (E,) int64, places among the images that were scored.
        scores: (E,) float64, higher is more suspicious. Of classes and labels: the probability of the suggestion less
            that of what is given, 0 to 1. Of numbers: the residual in robust standard deviations.
        suggested: by task: (E,) int64 classes; (E, L) bool labels; (E, K) float64 numbers.
        probability: (E,) float64, of the suggestion; of several labels, of the one that is most surely wrong; NaN of
            numbers.
        confident: (E,) bool, likely wrong by confident learning; of numbers: all.
    """

    rows: np.ndarray
    scores: np.ndarray
    suggested: np.ndarray
    probability: np.ndarray
    confident: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def suspect_classes(labels: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """Images of a class that another one is more probable than.

    Args:
        labels: (N,) int64, below C. probabilities: (N, C), of each class.
    """
    rows = np.arange(len(labels))
    own = probabilities[rows, labels].astype(np.float64)
    others = probabilities.astype(np.float64)
    others[rows, labels] = -1
    suggested = others.argmax(axis=1)
    probable = others[rows, suggested]
    confident = probable >= _means(labels, own, others.shape[1])[suggested]
    return _ranked(probable - own, probable > own, suggested, probable, confident)


def suspect_labels(labels: np.ndarray, probabilities: np.ndarray) -> Suspects:
    """Images that lack labels, or have some too much, where each may have several: each is a choice of two classes.

    Args:
        labels: (N, L) bool. probabilities: (N, L), of each label.
    """
    own = np.where(labels, probabilities, 1 - probabilities).astype(np.float64)
    wrong = own < 0.5
    confident = np.zeros(len(labels), bool)
    for label in range(labels.shape[1]):
        mean_absent, mean_present = _means(labels[:, label].astype(np.int64), own[:, label], 2)
        bar = np.where(labels[:, label], mean_absent, mean_present)  # of what would be right instead
        confident |= wrong[:, label] & (1 - own[:, label] >= bar)
    most = 1 - own.min(axis=1, initial=1)
    return _ranked(2 * most - 1, np.any(wrong, axis=1), np.logical_xor(labels, wrong), most, confident)


def suspect_numbers(targets: np.ndarray, predicted: np.ndarray) -> Suspects:
    """Images with a number that is more than OUTLIER robust standard deviations away from what is predicted.

    Args:
        targets, predicted: (N, K).
    """
    residuals = targets - predicted
    if len(residuals):
        residuals = np.abs(residuals - np.median(residuals, axis=0))
        spread = np.median(residuals, axis=0) / MAD_OF_NORMAL
        residuals = residuals / np.where(spread > 0, spread, np.inf)
    wrong = residuals > OUTLIER
    suggested = np.where(wrong, predicted, targets)
    none, every = np.full(len(targets), np.nan), np.ones(len(targets), bool)
    return _ranked(residuals.max(axis=1, initial=0), wrong.any(axis=1), suggested, none, every)


def _means(labels: np.ndarray, own: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) float64, the mean probability that images of a class have of it; infinite where it has no images."""
    counts = np.bincount(labels, minlength=classes)
    sums = np.bincount(labels, own, minlength=classes)
    return np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)


def _ranked(score: np.ndarray, chosen: np.ndarray, *columns: np.ndarray) -> Suspects:
    """The rows that are chosen, by their score, with the other columns of Suspects."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(-score[rows], kind="stable")]
    return Suspects(rows, score[rows], *(column[rows] for column in columns))
