"""Whether the scores of two cases differ by more than chance: paired tests and intervals.

All cases answer for the same images, so that differences are taken image by image: what is common to them cancels out.

- One seed: McNemar's exact test for classes (Q. McNemar, Psychometrika 12, 1947), on the images that one model has
  right and the other has wrong. Intervals, and p of other scores, are those of the paired bootstrap: both scores are
  computed again on resamples of the images (B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993,
  chapters 13 and 16). This compares two trained models.
- Several seeds: images and seeds are two crossed sources of variance, as cases and readers are in the method of D. D.
  Dorfman, K. S. Berbaum and C. E. Metz, Investigative Radiology 27, 1992. The variance of the difference is that of
  its mean over the seeds on resampled images, and that of the seeds' differences divided by the number of seeds; what
  is due to both is counted twice, on the safe side. Its degrees of freedom are those of F. E. Satterthwaite, Biometrics
  Bulletin 2, 1946; interval and p are those of Student's t. This compares the settings.
- More than two cases: the p of all pairs are corrected by S. Holm, Scandinavian Journal of Statistics 6, 1979.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from formwork.evaluation.bootstrap import resamples

LEVEL = 0.95
ALPHA = 1 - LEVEL
POWER = 0.8
RESAMPLES = 5000

Scores = Callable[[np.ndarray], np.ndarray]
"""Scores of a model, (R,), for (N, R) float64: how often each of N images counts in each of R resamples."""


@dataclass(frozen=True)
class Estimate:
    """How the score of a second case differs from that of a first one.

    Attributes:
        value: second - first, mean over the seeds. low, high: its interval at LEVEL.
        p: two-sided.
        test: by which that is.
        of_images, of_seeds: variances of `value` due to each; of_seeds is 0 where there is one seed.
    """

    value: float
    low: float
    high: float
    p: float
    test: str
    of_images: float
    of_seeds: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def scores_of(models: Sequence[Scores], units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(M,) scores of M models, and (M, RESAMPLES) those on resamples, the same images for all."""
    scores = np.concatenate([model(np.ones((len(units), 1))) for model in models])
    blocks = [np.stack([model(times) for model in models]) for times in resamples(units, RESAMPLES, 0, "compare")]
    return scores, np.concatenate(blocks, axis=1)


def estimate(first: np.ndarray, second: np.ndarray, resampled: np.ndarray, exact: float | None, units: int) -> Estimate:
    """
    Args:
        first, second: (S,) scores by seed.
        resampled: (S, R) differences of them on resamples.
        exact: p by McNemar's test; None where it has none.
        units: number of independent images.
    """
    differences = second - first
    value, seeds = float(differences.mean()), len(differences)
    over_images = resampled.mean(axis=0)
    of_images = float(over_images.var(ddof=1))
    if seeds == 1:
        low, high = np.quantile(over_images, (ALPHA / 2, 1 - ALPHA / 2)).tolist()
        p, test = (exact, "McNemar's exact test") if exact is not None else (_beyond(over_images), "paired bootstrap")
        return Estimate(value, low, high, p, test, of_images, 0.0)
    from scipy.stats import t as student

    of_seeds = float(differences.var(ddof=1)) / seeds
    variance = of_images + of_seeds
    test = "paired bootstrap over images, t test over seeds"
    if variance == 0:
        return Estimate(value, value, value, 0.0 if value else 1.0, test, 0.0, 0.0)
    freedom = variance**2 / (of_images**2 / max(units - 1, 1) + of_seeds**2 / (seeds - 1))
    error = math.sqrt(variance)
    reach = float(student.ppf(1 - ALPHA / 2, freedom)) * error
    p = float(2 * student.sf(abs(value) / error, freedom))
    return Estimate(value, value - reach, value + reach, p, test, of_images, of_seeds)


def _beyond(values: np.ndarray) -> float:
    """Two-sided p: twice the share of resamples on the rarer side of 0, the sample itself counted as one."""
    rarer = min(int((values <= 0).sum()), int((values >= 0).sum()))
    return min(2 * (rarer + 1) / (len(values) + 1), 1.0)


def mcnemar(only_first: int, only_second: int) -> float:
    """p of the exact test, two-sided.

    Args:
        only_first, only_second: images that this model alone has right.
    """
    from scipy.stats import binomtest

    total = only_first + only_second
    return float(binomtest(only_first, total, 0.5).pvalue) if total else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """p corrected for the number of them."""
    corrected, most = [0.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda place: values[place])):
        most = max(most, min((len(values) - rank) * values[place], 1.0))
        corrected[place] = most
    return corrected


def images_needed(found: Estimate, images: int) -> int | None:
    """How many images would show a true difference of this size in POWER of all cases; None: no number would, as the
    seeds differ too much, or there is no difference."""
    return _needed(found.value, found.of_images * images, found.of_seeds)


def seeds_needed(found: Estimate, seeds: int) -> int | None:
    """The same for seeds; None also where there is one, which says nothing of their variance."""
    return _needed(found.value, found.of_seeds * seeds, found.of_images) if found.of_seeds else None


def _needed(value: float, variance_of_one: float, other: float) -> int | None:
    from scipy.stats import norm

    allowed = (value / float(norm.ppf(1 - ALPHA / 2) + norm.ppf(POWER))) ** 2 - other
    return math.ceil(variance_of_one / allowed) if allowed > 0 else None
