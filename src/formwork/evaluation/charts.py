"""Charts of a model's answers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from formwork.drawing.charts import COLOURS, chart
from formwork.escapes import printable
from formwork.evaluation.assess import Assessment
from formwork.evaluation.calibration import BINS
from formwork.evaluation.predictions import Predictions
from formwork.evaluation.robustness import CLEAN, Robustness
from formwork.interim.settings import Settings
from formwork.params.evaluate import CORRUPTIONS

SHARE, LINE = COLOURS["FFCV"], COLOURS["limit"]
MOST_TARGETS, HISTOGRAM_BINS = 6, 30
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


def draw_errors(path: Path, predictions: Predictions, settings: Settings) -> None:
    """Histograms of the errors of predicted numbers, a panel a target, MOST_TARGETS at most."""
    names = settings.target_names[:MOST_TARGETS]
    columns = min(len(names), 3)
    errors = predictions.answers.astype(np.float64) - predictions.targets
    with chart(path, rows=-(-len(names) // columns), columns=columns, size=(3.4, 2.8)) as panels:
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        for axes, name, values in zip(panels, names, errors.T, strict=False):
            axes.hist(values, HISTOGRAM_BINS, color=SHARE)
            axes.axvline(0, color=LINE, linewidth=1)
            axes.set(title=printable(name), xlabel="predicted - target", ylabel="images")


def draw_robustness(
    path: Path, found: Mapping[str, Robustness], titles: Mapping[str, str], score: str, share: bool
) -> None:
    """The score by severity, a panel a corruption, a line a split.

    Args:
        titles: of the images, by split. score: title of the score. share: it is one.
    """
    names = list(next(iter(found.values())).spoilt)
    columns = min(len(names), 3)
    with chart(path, rows=-(-len(names) // columns), columns=columns, size=(3.4, 2.8)) as panels:
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        for axes, name in zip(panels, names, strict=False):
            for (split, robustness), colour in zip(found.items(), (SHARE, COLOURS["PyTorch"]), strict=False):
                shown = [robustness.clean, *robustness.spoilt[name].values()]
                values = [one.metrics[robustness.score] for one in shown]
                ends = [one.intervals.get(robustness.score, np.array([np.nan, np.nan])) for one in shown]
                axes.vlines(range(len(shown)), *zip(*ends, strict=True), color=colour, alpha=0.4, linewidth=2)
                axes.plot(range(len(shown)), values, color=colour, marker="o", markersize=4, label=titles[split])
            ticks = [CLEAN, *(f"{severity:g}" for severity in next(iter(found.values())).spoilt[name])]
            axes.set_xticks(range(len(ticks)), ticks)
            axes.set(title=name, xlabel=CORRUPTIONS[name].unit, ylabel=score)
            axes.set_ylim(0, 1.04 if share else None)
        panels[0].legend(loc="lower left")
