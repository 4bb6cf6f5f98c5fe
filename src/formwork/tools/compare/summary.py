"""What runs show together: medians, spreads, and when a conversion has paid for itself."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from formwork.text import count
from formwork.tools.compare.cases import Case, of_loaders
from formwork.tools.compare.differences import Difference
from formwork.tools.compare.runs import Run, named_machine

FFCV, FELL_BACK, PYTORCH = "FFCV", "FFCV fell back", "PyTorch"
"""Kinds of runs, where loaders are compared. One that fell back is never counted as FFCV's."""
OF_EVERY_MACHINE = ("score", "test_score")
"""Figures that do not depend on the machine."""


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
        dataset: its name. cases: what is compared, without seeds.
        machine: that all runs were measured on whose seconds count.
        runs: of all cases.
        reason: why FFCV could not load, where a run fell back.
        differences: of the scores, pair by pair. unpaired: sentences on those that could not be paired.
        conversion: seconds that the conversion of each split took, when it was made; None where that was on another
            machine, or where loaders are not what is compared.
    """

    dataset: str
    cases: Sequence[Case]
    machine: str
    runs: Sequence[Run]
    conversion: Mapping[str, float] | None
    reason: str | None = None
    differences: Sequence[Difference] = ()
    unpaired: Sequence[str] = ()

    @property
    def of_loaders(self) -> bool:
        """Whether the loaders are compared, and nothing else."""
        return of_loaders(self.cases)

    def kind_of(self, run: Run) -> str:
        """The column that a run belongs to: its case; or where loaders are compared, FFCV, FELL_BACK or PYTORCH."""
        if not self.of_loaders:
            return run.case.name
        if run.fell_back:
            return FELL_BACK
        return FFCV if run.case.params.data.use_ffcv else PYTORCH

    def of(self, kind: str) -> list[Run]:
        return [run for run in self.runs if self.kind_of(run) == kind]

    @property
    def kinds(self) -> list[str]:
        """Kinds that there are runs of."""
        known = (FFCV, FELL_BACK, PYTORCH) if self.of_loaders else tuple(case.name for case in self.cases)
        return [kind for kind in known if self.of(kind)]

    @property
    def pair(self) -> tuple[str, str] | None:
        """The two kinds whose ratios are shown; None where there are others, or where FFCV fell back."""
        if self.of_loaders:
            return (FFCV, PYTORCH) if self.of(FFCV) and self.of(PYTORCH) else None
        return (self.kinds[0], self.kinds[1]) if len(self.kinds) == 2 else None

    @property
    def metric(self) -> str:
        """Which score the runs have: "accuracy", for example."""
        return self.runs[0].metric if self.runs else "accuracy"

    @property
    def epochs(self) -> int:
        """Of a run; of the longest, where cases differ."""
        return max(case.params.trainer.max_epochs for case in self.cases)

    @property
    def epochs_in_words(self) -> str:
        of_each = [case.params.trainer.max_epochs for case in self.cases]
        if len(set(of_each)) == 1:
            return count(of_each[0], "epoch")
        return f"{', '.join(map(str, of_each[:-1]))} and {count(of_each[-1], 'epoch')}"

    def spread(self, kind: str, figure: str) -> Spread | None:
        """Median and range of a field of Run; None where a run lacks it, or where there are no runs of the kind that
        were measured on this machine."""
        runs = [run for run in self.of(kind) if run.here or figure in OF_EVERY_MACHINE]
        values = [getattr(run, figure) for run in runs]
        return Spread.of(values) if values and None not in values else None

    def seconds(self, kind: str) -> Spread:
        """An epoch's seconds, of a kind that there are runs of."""
        return Spread.of([run.seconds for run in self.of(kind)])

    @property
    def conversion_seconds(self) -> float | None:
        return None if self.conversion is None else sum(self.conversion.values())

    @property
    def compares_loaders(self) -> bool:
        """Whether there are runs of both loaders."""
        return self.of_loaders and self.pair is not None

    @property
    def pays_off_after(self) -> int | None:
        """Epochs after which the conversion has paid for itself. None: never, or this does not compare."""
        if self.conversion_seconds is None or not self.compares_loaders:
            return None
        ffcv, pytorch = (self.seconds(kind).median for kind in (FFCV, PYTORCH))
        return pays_off_after(self.conversion_seconds, ffcv, pytorch)

    def notes(self) -> Iterator[str]:
        """What a reader must know before trusting the figures."""
        yield from self._fallbacks()
        for kind in self.kinds:
            scores: dict[int, set[float]] = {}
            for run in self.of(kind):
                scores.setdefault(run.case.seed, set()).add(run.score)
            if any(len(different) > 1 for different in scores.values()):
                yield (
                    f"{kind}: runs of the same seed differ in {self.metric}. Training is not deterministic on this "
                    "device."
                )
        if elsewhere := [run for run in self.runs if not run.here]:
            machines = " and ".join(sorted({named_machine(run.machine, run.machine_id) for run in elsewhere}))
            yield (
                f"{count(len(elsewhere), 'run')} of {len(self.runs)} {'was' if len(elsewhere) == 1 else 'were'} "
                f"measured on another machine, {machines}: the {self.metric} counts, seconds and memory do not."
            )
        if self.of_loaders:
            yield from self._on_loaders()
        elif self.pair and len([run for run in self.runs if run.here]) == 2:
            yield "One run of each: `--repeat 3` shows how far the seconds of such runs differ on this machine."
        yield from self.unpaired

    def verdicts(self) -> Iterator[str]:
        """Which differences of the scores are real."""
        yield from (difference.sentence for difference in self.differences)
        if any(difference.seeds == 1 and not difference.same for difference in self.differences):
            yield (
                "One seed: this compares the trained models. With other seeds it may come out otherwise: `--seeds 5` "
                "compares the settings."
            )

    def _fallbacks(self) -> Iterator[str]:
        for case in self.cases:
            asked = [run for run in self.runs if run.case.name == case.name]
            if fallen := [run for run in asked if run.fell_back]:
                loaders = " and ".join(sorted({f"`{run.loader}`" for run in fallen}))
                start = "" if self.of_loaders else f"{case.name}: "
                yield (
                    f"{start}FFCV fell back in {len(fallen)} of {len(asked)} runs that asked for it (loader: "
                    f"{loaders}): those figures are not FFCV's. {self.reason or 'What they printed says why.'}"
                )

    def _on_loaders(self) -> Iterator[str]:
        if self.conversion is None:
            yield (
                "The conversion was measured on another machine, and is left out. "
                "`dvc repro -f convert` measures it here."
            )
        if self.pair and len(self.runs) == 2:
            yield "One run of each: `--repeat 3` shows how far such runs differ on this machine."
        elif self.pair and self.seconds(FFCV).overlaps(self.seconds(PYTORCH)):
            yield "The seconds an epoch overlap: these runs do not show which loader is faster."


def pays_off_after(conversion: float, ffcv: float, pytorch: float) -> int | None:
    """The first epoch, from 1, at whose end the seconds saved are no less than those that the conversion took.

    Args:
        ffcv, pytorch: seconds an epoch.

    Returns:
        None: never.
    """
    saved = pytorch - ffcv
    return max(math.ceil(conversion / saved - 1e-9), 1) if saved > 0 else None  # 0.3 / 0.1 is a bit more than 3
