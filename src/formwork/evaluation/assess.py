"""What a model's answers for a split are worth: metrics, and how sure each is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from formwork.evaluation.bootstrap import FEWEST_UNITS, interval, resamples, share_interval
from formwork.evaluation.metrics import METRICS, Scores
from formwork.evaluation.predictions import Predictions
from formwork.evaluation.sums import by_code
from formwork.interim.settings import Settings


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are found.

    Attributes:
        number: of resamples; 0: no intervals.
        seed: of the draws.
        purpose: what they are for: the split.
    """

    number: int
    seed: int
    purpose: str

    def of(self, units: np.ndarray, measure: Callable[[np.ndarray], Scores]) -> Scores | None:
        """The metrics of all resamples; None where there can be none.

        Args:
            units: see formwork.evaluation.bootstrap.resamples.
        """
        if not self.number or units.max() + 1 < FEWEST_UNITS:
            return None
        found = [measure(times) for times in resamples(units, self.number, self.seed, self.purpose)]
        return Scores(*(_joined([getattr(one, kind) for one in found]) for kind in ("overall", "parts", "bins")))


def _joined(blocks: list[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in blocks[0]}


@dataclass(frozen=True)
class Assessment:
    """Metrics of a split.

    Attributes:
        images: their number.
        metrics: by name. intervals: (2,) of each, none where there are no resamples.
        parts: (K,) by name, of each class, label or target; NaN where it is not defined. part_intervals: (K, 2).
        support: (K,) int64, images of each class or label.
        bins: (BINS,) by name, sums of formwork.evaluation.calibration. bin_intervals: (BINS, 2), of the shares that are
            right.
        samples: (R,) by name, each metric of all resamples.
    """

    images: int
    metrics: dict[str, float]
    intervals: dict[str, np.ndarray]
    parts: dict[str, np.ndarray]
    part_intervals: dict[str, np.ndarray]
    support: np.ndarray
    bins: dict[str, np.ndarray]
    bin_intervals: np.ndarray | None
    samples: dict[str, np.ndarray]


def assess(predictions: Predictions, settings: Settings, units: np.ndarray, bootstrap: Bootstrap) -> Assessment:
    """
    Args:
        settings: that the model was trained with.
        units: see formwork.evaluation.bootstrap.units_of.
    """
    measure = METRICS[settings.task](predictions, settings)
    found, resampled = measure.of(np.ones((len(predictions), 1))), bootstrap.of(units, measure.of)
    overall, parts, bins = ({name: values[..., 0] for name, values in one.items()} for one in vars(found).values())
    metrics = {name: float(value) for name, value in overall.items()}
    if resampled is None:
        return Assessment(len(predictions), metrics, {}, parts, {}, measure.support, bins, None, {})
    samples = dict(resampled.overall)
    if "ece" in samples:
        samples["ece"] = _unbiased(samples["ece"], metrics["ece"])
    intervals = {name: interval(values) for name, values in samples.items()}
    for name in measure.shares:
        intervals[name] = share_interval(intervals[name], overall[name], units.max() + 1)
    part_intervals = {name: interval(values) for name, values in resampled.parts.items()}
    for name, of_images in measure.trials.items():
        part_intervals[name] = share_interval(part_intervals[name], parts[name], _units_in(of_images, units))
    bin_intervals = _bin_intervals(resampled.bins) if bins else None
    return Assessment(
        len(predictions), metrics, intervals, parts, part_intervals, measure.support, bins, bin_intervals, samples
    )


def _units_in(of_images: csr_array, units: np.ndarray) -> np.ndarray:
    """(K,) number of units that each row of (K, N) has an image of."""
    return np.diff((of_images @ by_code(units, int(units.max()) + 1).T).indptr)


def _unbiased(samples: np.ndarray, estimate: float) -> np.ndarray:
    """Calibration errors of resamples less what resampling adds on average.

    An error is a sum of distances, which chance makes larger, in a resample twice. Left as they are, most of them, or
    all, would lie above the estimate.
    """
    return np.maximum(samples - (samples.mean() - estimate), 0)


def _bin_intervals(bins: Mapping[str, np.ndarray]) -> np.ndarray:
    number = bins["number"]
    return interval(np.divide(bins["right"], number, out=np.full(number.shape, np.nan), where=number > 0))
