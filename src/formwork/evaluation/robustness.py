"""How well a model does on spoilt images: its score by corruption and severity."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from formwork.evaluation.assess import Assessment
from formwork.evaluation.bootstrap import interval
from formwork.evaluation.corruptions import Corruption
from formwork.evaluation.tables import measured, with_ends
from formwork.formats import write_csv

CLEAN = "none"  # stands for a corruption, where there is none


@dataclass(frozen=True)
class Robustness:
    """The scores of a split.

    Attributes:
        score: name of the metric.
        clean: assessment of the images as they are.
        spoilt: of each corruption, by name and then by severity, in their order.
    """

    score: str
    clean: Assessment
    spoilt: Mapping[str, Mapping[float, Assessment]]

    @classmethod
    def of(cls, score: str, clean: Assessment, spoilt: Iterable[tuple[Corruption, Assessment]]) -> "Robustness":
        found: dict[str, dict[float, Assessment]] = {}
        for corruption, assessment in spoilt:
            found.setdefault(corruption.name, {})[corruption.severity] = assessment
        return cls(score, clean, found)

    @property
    def mean(self) -> tuple[float, np.ndarray | None]:
        """The mean over the corruptions of the mean over their severities, and its interval: resamples are the same for
        all of them."""
        found = [[one.metrics[self.score] for one in of_name.values()] for of_name in self.spoilt.values()]
        value = float(np.mean([np.mean(scores) for scores in found]))
        if not self.clean.samples:
            return value, None
        samples = [
            np.mean([one.samples[self.score] for one in of_name.values()], axis=0) for of_name in self.spoilt.values()
        ]
        return value, interval(np.mean(samples, axis=0))

    def rows(self) -> Iterator[tuple[str, str, Assessment]]:
        """Corruption, severity and assessment; the clean images first."""
        yield CLEAN, "", self.clean
        for name, of_name in self.spoilt.items():
            for severity, assessment in of_name.items():
                yield name, f"{severity:g}", assessment


def corruptions(severities: Mapping[str, Sequence[float]], seed: int) -> list[Corruption]:
    """One for each severity of each corruption."""
    return [Corruption(name, severity, seed) for name, of_name in severities.items() for severity in of_name]


def write_robustness(path: Path, found: Mapping[str, Robustness]) -> None:
    """Write a row for each split, corruption and severity."""
    score = next(iter(found.values())).score
    rows = [
        (split, name, severity, *_cells(assessment, score), *_cells(assessment, "loss"))
        for split, robustness in found.items()
        for name, severity, assessment in robustness.rows()
    ]
    write_csv(path, [("split", "corruption", "severity", *with_ends(score), *with_ends("loss")), *rows])


def _cells(assessment: Assessment, name: str) -> tuple[str, str, str]:
    return measured(assessment.metrics[name], assessment.intervals.get(name))
