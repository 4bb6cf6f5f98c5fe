"""Average precision of labels, for images that each count any number of times."""

import numpy as np


class AveragePrecision:
    """The area under the curve of precision by recall, without interpolation; of equal probabilities none is first.

    Args:
        answers: (N, K), of which only the order of each column counts. truth: (N, K) bool.
    """

    def __init__(self, answers: np.ndarray, truth: np.ndarray):
        self.images, self.labels = truth.shape
        self.found = [self._label(answers[:, label], truth[:, label]) for label in range(self.labels)]

    def _label(self, answers: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Images, the likeliest first; which of them have the label; and where those end that are as likely as each
        of these."""
        order = np.argsort(-answers, kind="stable").astype(np.int32)
        places = np.flatnonzero(truth[order])
        last = np.append(np.flatnonzero(np.diff(answers[order])), self.images - 1)
        return order, places, last[np.searchsorted(last, places)]

    def of(self, times: np.ndarray) -> np.ndarray:
        """(K, R) float64, NaN for a label that no image has.

        Args:
            times: (N, R) float64, how often each image counts.
        """
        scores = np.full((self.labels, times.shape[1]), np.nan)
        for label, (order, places, ends) in enumerate(self.found):
            if len(places):
                sorted_times = times[order]
                weights = sorted_times[places]
                before = np.concatenate([np.zeros_like(weights[:1]), np.cumsum(weights, axis=0)])
                true = before[np.searchsorted(places, ends, side="right")]
                with np.errstate(invalid="ignore", divide="ignore"):  # images that are not in a resample
                    precision = np.where(weights > 0, true / np.cumsum(sorted_times, axis=0)[ends], 0.0)
                    scores[label] = (weights * precision).sum(axis=0) / before[-1]
        return scores
