"""metrics.json: a number for each metric, by split; and their intervals, as lists, of which DVC makes no columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from formwork.escapes import printable
from formwork.evaluation.assess import Assessment
from formwork.evaluation.robustness import Robustness
from formwork.formats import write_json
from formwork.interim.settings import Settings
from formwork.text import score

WORST = {"classes": ("accuracy", "class", "class_accuracy"), "multilabel": ("average_precision", "label", "label_ap")}
"""By task, the score by which the worst one is found, what it is one of, and what the metric is called."""


def write_metrics(
    path: Path, loader: str, found: Mapping[str, Assessment], settings: Settings, spoilt: Mapping[str, Robustness]
) -> None:
    """
    Args:
        loader: that was used.
        found: by split. spoilt: by split; none where no corruption was tried.
    """
    values: dict[str, Any] = {"loader": loader}
    intervals: dict[str, list[float] | None] = {}
    for split, assessment in found.items():
        for name, value in _values(assessment, settings).items():
            values[f"{split}_{name}"] = value
        intervals |= {f"{split}_{name}": ends(pair) for name, pair in assessment.intervals.items()}
        if split in spoilt:
            name = f"{split}_corrupted_{spoilt[split].score}"
            values[name], pair = spoilt[split].mean
            intervals |= {} if pair is None else {name: ends(pair)}
    write_json(path, {**values, "intervals": intervals} if intervals else values)


def ends(interval: np.ndarray) -> list[float] | None:
    """Both ends of an interval, to six digits; None where it is not known."""
    return None if np.isnan(interval).any() else [float(f"{end:.6g}") for end in interval.tolist()]


def with_interval(assessment: Assessment, name: str) -> str:
    """ "0.9661 (0.9390 to 0.9890)" """
    pair = assessment.intervals.get(name)
    text = score(assessment.metrics[name])
    return text if pair is None or np.isnan(pair).any() else f"{text} ({score(pair[0])} to {score(pair[1])})"


def _values(assessment: Assessment, settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"images": assessment.images, **assessment.metrics}
    loss = found.pop("loss")
    if settings.task in WORST:
        by, kind, name = WORST[settings.task]
        scores = assessment.parts[by]
        if not np.isnan(scores).all():
            worst = int(np.nanargmin(scores))
            found[f"worst_{name}"] = float(scores[worst])
            found[f"worst_{kind}"] = printable(settings.class_names[worst])
    elif len(settings.target_names) > 1:
        for name in ("mae", "r2"):
            found[f"{name}_of"] = dict(
                zip(map(printable, settings.target_names), assessment.parts[name].tolist(), strict=True)
            )
    return {**found, "loss": loss}
