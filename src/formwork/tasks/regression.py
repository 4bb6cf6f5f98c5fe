"""Numbers for an image: smooth L1 loss, mean absolute error, R2.

A model predicts each target in units of its standard deviation, from its mean, both of the training split: targets of
any size train alike so. Errors of a single target are given in the user's units. Of several, whose units may differ,
means are taken over errors in standard deviations, so that none counts more than another.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor
from torch.nn import functional

from formwork.interim.settings import Settings
from formwork.tasks.base import PLAIN, Constant, LossOptions, Task, at_least_float32

NO_SPREAD = 1e-6  # standardised variance below which targets of a split are all the same, rounding aside


class Regression(Task):
    name = "regression"
    metrics = ("mae", "r2")
    score, score_title = "mae", "MAE"

    def __init__(self, settings: Settings):
        super().__init__(settings)
        self.mean, self.std = Constant(np.array(settings.target_mean)), Constant(np.array(settings.target_std))
        self.unit = settings.target_std[0] if self.outputs == 1 else 1.0
        self.sizes = dict.fromkeys(("absolute", "squared", "value", "value_squared"), self.outputs)

    def standardised(self, targets: Tensor) -> Tensor:
        return (targets - self.mean.on(targets.device)) / self.std.on(targets.device)

    def losses(self, outputs: Tensor, targets: Tensor, options: LossOptions = PLAIN) -> Tensor:
        """Means over the targets of smooth L1 losses, quadratic up to one standard deviation."""
        outputs = at_least_float32(outputs)
        targets = self.standardised(targets).to(outputs.dtype)
        each = functional.smooth_l1_loss(outputs, targets, reduction=options.reduction)
        return each if options.reduction == "mean" else each.mean(dim=1)

    def balanced(self, counts: np.ndarray, images: int) -> np.ndarray:
        raise NotImplementedError("Params.unsuitable refuses it")

    def answers(self, outputs: Tensor) -> Tensor:
        return outputs.float() * self.std.on(outputs.device) + self.mean.on(outputs.device)

    def measure(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """By target, of standardised numbers, the errors, their squares, the targets and their squares."""
        values = self.standardised(targets)
        errors = outputs.detach().float() - values
        parts = (errors.abs(), errors.square(), values, values.square())
        return {name: part.sum(dim=0) for name, part in zip(self.sizes, parts, strict=True)}

    def summarise(self, sums: Mapping[str, np.ndarray], count: int) -> dict[str, float]:
        """Means over the targets."""
        errors = sums["absolute"] / count
        spread = sums["value_squared"] - sums["value"] ** 2 / count
        return {
            "mae": float(errors.mean()) * self.unit,
            "r2": float(r2_scores(sums["squared"], spread, count).mean()),
        }


def r2_scores(squared: np.ndarray, spread: np.ndarray, count: int) -> np.ndarray:
    """(K,) R2; 0 for a target without spread, which no share of could be explained.

    Args:
        squared: sum of the squared errors. spread: of the squared distances of the targets from their mean; both over
            `count` images, in units of standard deviations.
    """
    known = spread > NO_SPREAD * count
    return np.where(known, 1 - squared / np.where(known, spread, 1), 0.0)
