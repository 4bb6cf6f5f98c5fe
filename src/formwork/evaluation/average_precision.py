"""Average precision of labels, for images that each count any number of times."""

from typing import NamedTuple

import numpy as np


class Ranking(NamedTuple):
    """The images by one label, the likeliest first, down to the last that has it.

    Attributes:
        order: (M,) int32, the images.
        places: (P,) where in the order those are that have the label.
        starts: (S,) where segments of the order begin; each ends with an image that has the label, and all as likely.
        segments: (P,) the segment of each image that has it. true: (P,) how many such images are there to its end.
    """

    order: np.ndarray
    places: np.ndarray
    starts: np.ndarray
    segments: np.ndarray
    true: np.ndarray


class AveragePrecision:
    """The area under the curve of precision by recall, without interpolation; of equal probabilities none is first.

    Args:
        answers: (N, K), of which only the order of each column counts. truth: (N, K) bool.
    """

    def __init__(self, answers: np.ndarray, truth: np.ndarray):
        self.labels = truth.shape[1]
        self.rankings = {
            label: rank(answers[:, label], truth[:, label]) for label in np.flatnonzero(truth.any(axis=0)).tolist()
        }

    def of(self, times: np.ndarray) -> np.ndarray:
        """(K, R) float64, NaN for a label that no image has.

        Args:
            times: (N, R) float64, how often each image counts.
        """
        scores = np.full((self.labels, times.shape[1]), np.nan)
        for label, ranking in self.rankings.items():
            ranked = times[ranking.order]
            weights = ranked[ranking.places]
            true = np.concatenate([np.zeros_like(weights[:1]), np.cumsum(weights, axis=0)])
            found = np.cumsum(np.add.reduceat(ranked, ranking.starts, axis=0), axis=0)[ranking.segments]
            with np.errstate(invalid="ignore", divide="ignore"):  # images that are not in a resample
                precision = np.where(weights > 0, true[ranking.true] / found, 0.0)
                scores[label] = (weights * precision).sum(axis=0) / true[-1]
        return scores


def rank(answers: np.ndarray, truth: np.ndarray) -> Ranking:
    """
    Args:
        answers: (N,). truth: (N,) bool, true somewhere.
    """
    order = np.argsort(-answers, kind="stable").astype(np.int32)
    places = np.flatnonzero(truth[order])
    last = np.append(np.flatnonzero(np.diff(answers[order])), len(order) - 1)  # of those that are as likely
    ends = last[np.searchsorted(last, places)]
    stops, segments = np.unique(ends, return_inverse=True)
    starts = np.append(0, stops[:-1] + 1)
    return Ranking(order[: stops[-1] + 1], places, starts, segments, np.searchsorted(places, ends, side="right"))
