"""Any number of labels an image: binary cross entropy of each label, mean average precision, F1."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor
from torch.nn import functional

from formwork.interim.settings import Settings
from formwork.tasks.base import PLAIN, LossOptions, Task, at_least_float32


class Multilabel(Task):
    name = "multilabel"
    metrics = ("f1",)
    val_metrics = ("map",)
    score, score_title = "map", "mAP"

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.sizes = dict.fromkeys(("both", "said", "true"), self.outputs)

    def losses(self, outputs: Tensor, targets: Tensor, options: LossOptions = PLAIN) -> Tensor:
        """Means over the labels of binary cross entropies. A smoothed target is moved towards 1/2."""
        reduction, label_smoothing, weights = options
        outputs = at_least_float32(outputs)
        targets = targets.to(outputs.dtype)
        if label_smoothing:
            targets = targets * (1 - label_smoothing) + label_smoothing / 2
        each = functional.binary_cross_entropy_with_logits(outputs, targets, pos_weight=weights, reduction=reduction)
        return each if reduction == "mean" else each.mean(dim=1)

    def balanced(self, counts: np.ndarray, images: int) -> np.ndarray:
        """Images without the label / images with it, the factor of the latter; 1 where there are none."""
        return np.where(counts > 0, (images - counts) / np.maximum(counts, 1), 1.0)

    def answers(self, outputs: Tensor) -> Tensor:
        return outputs.float().sigmoid()

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """By label, images that have it and are said to, that are said to, and that have it."""
        said, true = outputs > 0, targets > 0.5
        return {"both": (said & true).sum(dim=0), "said": said.sum(dim=0), "true": true.sum(dim=0)}

    def summarise(self, sums: Mapping[str, np.ndarray], count: int) -> dict[str, float]:
        return {"f1": mean_of_known(f1_scores(sums["both"], sums["said"], sums["true"]))}

    def summarise_val(self, outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        return {"map": mean_of_known(average_precisions(outputs, targets > 0.5))}


def f1_scores(both: np.ndarray, said: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(K,) F1 of each label; NaN for one that no image has and none is said to have."""
    total = said + true
    return np.divide(2 * both, total, out=np.full(len(total), np.nan), where=total > 0)


def average_precisions(outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(K,) area under the curve of precision by recall, without interpolation; NaN for a label that no image has.

    Args:
        outputs: (N, K), of which only the order of each column counts. truth: (N, K) bool.
    """
    from sklearn.metrics import average_precision_score  # here, because it takes a second

    found = np.full(truth.shape[1], np.nan)
    for label in np.flatnonzero(truth.any(axis=0)).tolist():
        found[label] = average_precision_score(truth[:, label], outputs[:, label])
    return found


def mean_of_known(values: np.ndarray) -> float:
    """The mean of those that are not NaN; 0 where all are."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
