"""Charts of a model's answers."""

from pathlib import Path

import numpy as np

from formwork.drawing.charts import COLOURS, chart
from formwork.evaluation.assess import Assessment
from formwork.evaluation.calibration import BINS

SHARE, LINE = COLOURS["FFCV"], COLOURS["limit"]
CONFIDENCE = "confidence: the probability that the model gives"


def draw_reliability(path: Path, assessment: Assessment, title: str) -> None:
    """The reliability diagram: the share that is right by the probability given, and how often each is given.

    Args:
        title: of the images.
    """
    used = np.flatnonzero(assessment.bins["number"])
    number, probability, right = (assessment.bins[name][used] for name in ("number", "probability", "right"))
    means, shares = probability / number, right / number
    with chart(path, columns=2, size=(3.6, 3.4)) as (diagram, counts):
        diagram.plot((0, 1), (0, 1), color=LINE, linewidth=1, label="perfectly calibrated")
        if assessment.bin_intervals is not None:
            low, high = assessment.bin_intervals[used].T
            diagram.vlines(means, low, high, color=SHARE, alpha=0.5, linewidth=2)
        diagram.plot(means, shares, color=SHARE, marker="o", markersize=4, label=title)
        title = f"reliability, calibration error {assessment.metrics['ece']:.3f}"
        diagram.set(title=title, xlabel=CONFIDENCE, ylabel="share that is right", xlim=(0, 1.02), ylim=(0, 1.02))
        diagram.legend(loc="upper left")
        counts.bar((used + 0.5) / BINS, number / number.sum(), 0.9 / BINS, color=SHARE)
        counts.set(title="predictions", xlabel=CONFIDENCE, ylabel="share of the predictions", xlim=(0, 1.02))
