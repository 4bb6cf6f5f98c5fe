"""Metrics of a model on a split, for images that each count any number of times: once each, or as in a resample.

A new metric is a line in the class of its task: in `overall` where it is one number, in `parts` where each class, label
or target has one. N is the number of images, K that of the model's outputs, R that of samples of the images.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from formwork.evaluation.average_precision import AveragePrecision
from formwork.evaluation.calibration import calibration_error, calibration_sums
from formwork.evaluation.predictions import Predictions
from formwork.evaluation.sums import Sums, by_code, by_image
from formwork.interim.settings import Settings
from formwork.tasks.regression import NO_SPREAD

MANY_CLASSES = 5  # more of them have a top-5 accuracy


@dataclass(frozen=True)
class Scores:
    """Metrics of R samples.

    Attributes:
        overall: (R,) float64 by name.
        parts: (K, R) float64 by name, of each class, label or target; NaN where it is not defined.
        bins: (BINS, R) float64 by name, sums of formwork.evaluation.calibration; none where a model predicts numbers.
    """

    overall: Mapping[str, np.ndarray]
    parts: Mapping[str, np.ndarray]
    bins: Mapping[str, np.ndarray]


class Metrics(ABC):
    """Metrics of a task.

    Attributes:
        each: (N,) by name, of single images: whether each is right, or how far off; and its loss.
        shares: names of metrics in `overall` that are shares of the images.
        trials: (K, N) of the metrics in `parts` that are shares: 1 where an image is one of those they are a share of.
        support: (K,) int64, images of each class or label, or with each target.
    """

    each: dict[str, np.ndarray]
    shares: tuple[str, ...] = ()
    trials: Mapping[str, csr_array]
    support: np.ndarray

    @abstractmethod
    def __init__(self, predictions: Predictions, settings: Settings):
        """settings: that the model was trained with."""

    @abstractmethod
    def of(self, times: np.ndarray) -> Scores:
        """times: (N, R) float64, how often each image counts in each of R samples."""


class ClassMetrics(Metrics):
    """accuracy, top-5 accuracy, mean accuracy of the classes, macro F1, calibration error, loss.

    The accuracy of a class is that of its images, its recall. Means over the classes are over those with images in the
    sample: another cannot be judged, but images that are taken for it are wrong. A class that is never predicted has
    an F1 of 0.
    """

    def __init__(self, predictions: Predictions, settings: Settings):
        targets, predicted, classes = predictions.targets, predictions.likeliest, len(settings.class_names)
        right = predicted == targets
        self.each = {"accuracy": right, "loss": predictions.losses}
        more = {"top5_accuracy": among_likeliest(predictions, 5)} if classes > MANY_CLASSES else {}
        self.shares = "accuracy", *more
        self._means = Sums({name: by_image(values) for name, values in {**self.each, **more}.items()})
        self._counts = Sums(
            {
                "true": by_code(targets, classes),
                "said": by_code(predicted, classes),
                "both": by_code(targets, classes, right),
            }
        )
        self.trials = {"accuracy": self._counts.matrices["true"], "precision": self._counts.matrices["said"]}
        self.support = np.bincount(targets, minlength=classes)
        self._bins = calibration_sums(predictions.answers.max(axis=1), right)

    def of(self, times: np.ndarray) -> Scores:
        means, bins, counts = self._means.of(times), self._bins.of(times), self._counts.of(times)
        recall, precision, f1 = _rates(counts["both"], counts["said"], counts["true"])
        f1[counts["true"] == 0] = np.nan
        images = times.sum(axis=0)
        overall = {name: means[name][0] / images for name in self.shares}
        overall |= {
            "mean_class_accuracy": mean_of_known(recall),
            "macro_f1": mean_of_known(f1),
            "ece": calibration_error(bins),
            "loss": means["loss"][0] / images,
        }
        return Scores(overall, {"accuracy": recall, "precision": precision, "f1": f1}, bins)


class LabelMetrics(Metrics):
    """mAP, F1 as the mean over the labels and over all answers together, exact matches, calibration error, loss.

    mAP is the mean over the labels that an image of the sample has, F1 over those that an image has or is said to have.
    """

    def __init__(self, predictions: Predictions, settings: Settings):
        said, true = predictions.probable, predictions.targets > 0.5
        self.each = {"exact_match": np.all(said == true, axis=1), "loss": predictions.losses}
        self.shares = ("exact_match",)
        self._means = Sums({name: by_image(values) for name, values in self.each.items()})
        self._counts = Sums({"both": by_image(said & true), "said": by_image(said), "true": by_image(true)})
        self.trials = {"recall": self._counts.matrices["true"], "precision": self._counts.matrices["said"]}
        self.support = true.sum(axis=0)
        self._precision = AveragePrecision(predictions.answers, true)
        self._bins = calibration_sums(predictions.answers, true)

    def of(self, times: np.ndarray) -> Scores:
        means, bins, counts = self._means.of(times), self._bins.of(times), self._counts.of(times)
        recall, precision, f1 = _rates(counts["both"], counts["said"], counts["true"])
        average, images = self._precision.of(times), times.sum(axis=0)
        both, said, true = (counts[name].sum(axis=0) for name in ("both", "said", "true"))
        overall = {
            "map": np.nan_to_num(mean_of_known(average)),
            "f1": np.nan_to_num(mean_of_known(f1)),
            "micro_f1": np.nan_to_num(_share(2 * both, said + true)),
            "exact_match": means["exact_match"][0] / images,
            "ece": calibration_error(bins),
            "loss": means["loss"][0] / images,
        }
        return Scores(overall, {"average_precision": average, "recall": recall, "precision": precision, "f1": f1}, bins)


class NumberMetrics(Metrics):
    """MAE, RMSE, R2, loss: of one target in its unit, of several as means over errors in standard deviations."""

    def __init__(self, predictions: Predictions, settings: Settings):
        targets, self._std = predictions.targets.astype(np.float64), np.array(settings.target_std)
        errors, values = predictions.answers.astype(np.float64) - targets, targets - targets.mean(axis=0)
        self._units = self._std if len(self._std) > 1 else np.ones(1)  # see formwork.tasks.regression
        self.each, self.trials = {"mae": (abs(errors) / self._units).mean(axis=1), "loss": predictions.losses}, {}
        self.support = np.full(len(self._std), len(predictions))
        sums = {"absolute": abs(errors), "squared": errors**2, "value": values, "value_squared": values**2}
        self._sums = Sums({name: by_image(one) for name, one in {**sums, "loss": predictions.losses}.items()})

    def of(self, times: np.ndarray) -> Scores:
        images = times.sum(axis=0)
        means = {name: sums / images for name, sums in self._sums.of(times).items()}
        std, units = self._std[:, None], self._units[:, None]
        mae, rmse = means["absolute"], np.sqrt(means["squared"])
        variance = means["value_squared"] - means["value"] ** 2
        known = variance > NO_SPREAD * std**2
        r2 = np.where(known, 1 - means["squared"] / np.where(known, variance, 1), 0.0)
        overall = {
            "mae": (mae / units).mean(axis=0),
            "rmse": (rmse / units).mean(axis=0),
            "r2": r2.mean(axis=0),
            "loss": means["loss"][0],
        }
        return Scores(overall, {"mae": mae, "rmse": rmse, "r2": r2}, {})


METRICS: dict[str, type[Metrics]] = {"classes": ClassMetrics, "multilabel": LabelMetrics, "regression": NumberMetrics}
"""By task."""


def among_likeliest(predictions: Predictions, most: int) -> np.ndarray:
    """(N,) bool: the class is among the `most` likeliest; of equal ones, those that come first."""
    own = np.take_along_axis(predictions.answers, predictions.targets[:, None], axis=1)
    before = np.arange(predictions.answers.shape[1]) < predictions.targets[:, None]
    above = (predictions.answers > own) | ((predictions.answers == own) & before)
    return above.sum(axis=1) < most


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """(R,) means over those of (K, R) values that are not NaN; NaN where all are."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0).sum(axis=0), known.sum(axis=0))


def _rates(both: np.ndarray, said: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recall, precision and F1 from numbers of images that have a class or label and are said to, that are said to, and
    that have it; NaN where there are none."""
    return _share(both, true), _share(both, said), _share(2 * both, said + true)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
