"""What runs show together: medians, spreads, and when a conversion has paid for itself."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from formwork.tools.compare.runs import Run

FFCV, FELL_BACK, PYTORCH = "FFCV", "FFCV fell back", "PyTorch"
"""Kinds of runs. One that fell back is never counted as FFCV's."""


@dataclass(frozen=True)
class Spread:
    """Median and range of one figure over all runs of a kind."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        return Spread(statistics.median(values), min(values), max(values))

    def overlaps(self, other: "Spread") -> bool:
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Summary:
    """A comparison.

    Attributes:
        dataset: its name. epochs: of a run.
        machine: that all runs were measured on.
        runs: of all kinds.
        reason: why FFCV could not load, where a run fell back.
        conversion: seconds that the conversion of each split took, when it was made; None where that was on another
            machine.
    """

    dataset: str
    epochs: int
    machine: str
    runs: Sequence[Run]
    conversion: Mapping[str, float] | None
    reason: str | None = None

    def of(self, kind: str) -> list[Run]:
        return [run for run in self.runs if kind_of(run) == kind]

    @property
    def kinds(self) -> list[str]:
        """Kinds that there are runs of."""
        return [kind for kind in (FFCV, FELL_BACK, PYTORCH) if self.of(kind)]

    @property
    def metric(self) -> str:
        """Which score the runs have: "accuracy", for example."""
        return self.runs[0].metric if self.runs else "accuracy"

    def spread(self, kind: str, figure: str) -> Spread | None:
        """Median and range of a field of Run; None where a run lacks it, or where there are no runs of the kind."""
        values = [getattr(run, figure) for run in self.of(kind)]
        return Spread.of(values) if values and None not in values else None

    def seconds(self, kind: str) -> Spread:
        """An epoch's seconds, of a kind that there are runs of."""
        return Spread.of([run.seconds for run in self.of(kind)])

    @property
    def conversion_seconds(self) -> float | None:
        return None if self.conversion is None else sum(self.conversion.values())

    @property
    def compares(self) -> bool:
        """Whether there are runs of both loaders."""
        return bool(self.of(FFCV) and self.of(PYTORCH))

    @property
    def pays_off_after(self) -> int | None:
        """Epochs after which the conversion has paid for itself. None: never, or this does not compare."""
        if self.conversion_seconds is None or not self.compares:
            return None
        ffcv, pytorch = (self.seconds(kind).median for kind in (FFCV, PYTORCH))
        return pays_off_after(self.conversion_seconds, ffcv, pytorch)

    def notes(self) -> Iterator[str]:
        """What a reader must know before trusting the figures."""
        if fallen := self.of(FELL_BACK):
            asked = len(fallen) + len(self.of(FFCV))
            loaders = " and ".join(sorted({f"`{run.loader}`" for run in fallen}))
            yield (
                f"FFCV fell back in {len(fallen)} of {asked} runs that asked for it (loader: {loaders}): those figures "
                f"are not FFCV's. {self.reason or 'What they printed says why.'}"
            )
        for kind in self.kinds:
            scores: dict[int, set[float]] = {}
            for run in self.of(kind):
                scores.setdefault(run.case.seed, set()).add(run.score)
            if any(len(different) > 1 for different in scores.values()):
                yield (
                    f"{kind}: runs of the same seed differ in {self.metric}. Training is not deterministic on this "
                    "device."
                )
        if self.conversion is None:
            yield (
                "The conversion was measured on another machine, and is left out. "
                "`dvc repro -f convert` measures it here."
            )
        if self.compares and len(self.runs) == 2:
            yield "One run of each: `--repeat 3` shows how far such runs differ on this machine."
        elif self.compares:
            ffcv, pytorch = (self.seconds(kind) for kind in (FFCV, PYTORCH))
            if ffcv.overlaps(pytorch):
                yield "The seconds an epoch overlap: these runs do not show which loader is faster."


def kind_of(run: Run) -> str:
    if run.fell_back:
        return FELL_BACK
    return FFCV if run.case.use_ffcv else PYTORCH


def pays_off_after(conversion: float, ffcv: float, pytorch: float) -> int | None:
    """The first epoch, from 1, at whose end the seconds saved are no less than those that the conversion took.

    Args:
        ffcv, pytorch: seconds an epoch.

    Returns:
        None: never.
    """
    saved = pytorch - ffcv
    return max(math.ceil(conversion / saved - 1e-9), 1) if saved > 0 else None  # 0.3 / 0.1 is a bit more than 3
