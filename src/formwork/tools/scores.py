"""How good a model is, read from results/evaluate/metrics.json, whatever the task."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from formwork.text import score


@dataclass(frozen=True)
class Score:
    """The metric by which models of a task are compared.

    Attributes:
        name: in file names and metrics. title: for people.
        higher: whether a higher one is better.
        share: it is one, and shown in percent.
    """

    name: str
    title: str
    higher: bool = True
    share: bool = True

    def text(self, value: float) -> str:
        return f"{value:.2%}" if self.share else score(value)

    def of(self, evaluation: Mapping[str, Any], split: str = "val") -> float | None:
        """Its value on a split; None where that was not evaluated."""
        value = evaluation.get(f"{split}_{self.name}")
        return None if value is None else float(value)


SCORES = (Score("accuracy", "accuracy"), Score("map", "mAP"), Score("mae", "MAE", higher=False, share=False))
"""Of formwork.tasks, which would import torch."""


def score_of_task(task: str) -> Score:
    """That of a task of formwork.tasks, by its name."""
    return dict(zip(("classes", "multilabel", "regression"), SCORES, strict=True))[task]


def score_of(evaluation: Mapping[str, Any]) -> Score:
    """Which score an evaluation has.

    Raises:
        KeyError: none of them.
    """
    for one in SCORES:
        if one.of(evaluation) is not None:
            return one
    raise KeyError("val_accuracy")
