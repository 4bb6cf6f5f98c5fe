"""Calibration: how far the probabilities that a model gives are from the shares in which it is right.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, section 2: what
is predicted with a probability in ((m - 1) / M, m / M] falls into bin m of M = 15. The expected calibration error is
the mean over the bins of |share that is right - mean probability|, weighted by what is in each (equation 3).

Of classes, each image has one prediction, the likeliest class with its probability. Of labels, each image has a
prediction a label, the probability that the image has it, and all of them are pooled.
"""

from collections.abc import Mapping

import numpy as np

from formwork.evaluation.sums import Sums, by_code, by_image

BINS = 15
ROWS_AT_ONCE = 1 << 12


def bins_of(probabilities: np.ndarray) -> np.ndarray:
    """int64 of the same shape, from 0."""
    places = np.ceil(np.asarray(probabilities, np.float64) * BINS).astype(np.int64) - 1
    return np.clip(places, 0, BINS - 1)


def calibration_sums(probabilities: np.ndarray, right: np.ndarray) -> Sums:
    """By bin: `number`, `probability` and `right`, summed.

    Args:
        probabilities, right: (N,), or (N, K), several predictions an image.
    """
    if probabilities.ndim == 1:
        codes = bins_of(probabilities)
        matrices = {"number": None, "probability": probabilities, "right": right}
        return Sums({name: by_code(codes, BINS, values) for name, values in matrices.items()})
    found = {name: np.zeros((len(probabilities), BINS)) for name in ("number", "probability", "right")}
    for start in range(0, len(probabilities), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        part = probabilities[rows].astype(np.float64)
        places = (np.arange(len(part))[:, None] * BINS + bins_of(part)).ravel()
        for name, weights in (("number", None), ("probability", part.ravel()), ("right", right[rows].ravel())):
            found[name][rows] = np.bincount(places, weights, BINS * len(part)).reshape(-1, BINS)
    return Sums({name: by_image(values) for name, values in found.items()})


def calibration_error(sums: Mapping[str, np.ndarray]) -> np.ndarray:
    """(R,) expected calibration errors, from (BINS, R) sums."""
    return np.abs(sums["right"] - sums["probability"]).sum(axis=0) / sums["number"].sum(axis=0)
