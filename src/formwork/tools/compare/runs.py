"""What is compared: a training run's figures, and whether they are what they were asked to be."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """What the runs of a comparison differ in. With the params, data and code of the workspace it says all of a run."""

    use_ffcv: bool
    seed: int

    @property
    def overrides(self) -> dict[str, Any]:
        """Params that the case sets, by their dotted names."""
        return {"data.use_ffcv": self.use_ffcv, "seed": self.seed}

    @property
    def settings(self) -> list[str]:
        """The overrides as `dvc exp run -S` takes them."""
        return [f"{name}={str(value).lower()}" for name, value in self.overrides.items()]

    @property
    def asked_for(self) -> str:
        """The loader, as metrics call it."""
        return "ffcv" if self.use_ffcv else "pytorch"

    def __str__(self) -> str:
        return f"{self.asked_for}, seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """A finished training. Its figures are those of results/speed/metrics.json, see EpochLog.

    Attributes:
        loader: really used.
        accuracy: of the best epoch on the validation split, from results/evaluate.
        identity: of the measurement; a result that DVC took from its cache has that of the run that it is of.
        source: where the result was found, for people.
    """

    case: Case
    loader: str
    accuracy: float
    seconds: float
    images_per_second: float
    waiting_seconds: float
    waiting_share: float
    first_batch_seconds: float
    peak_memory_mb: float | None
    machine: str
    identity: str
    source: str

    @property
    def fell_back(self) -> bool:
        """Whether another loader than the one asked for gave any of the batches."""
        return self.loader != self.case.asked_for


SPEED = (
    "loader",
    "seconds",
    "images_per_second",
    "waiting_seconds",
    "waiting_share",
    "first_batch_seconds",
    "machine",
)


def make_run(
    case: Case, speed: Mapping[str, Any], evaluation: Mapping[str, Any], identity: str, source: str
) -> Run | None:
    """From results/speed/metrics.json and results/evaluate/metrics.json; None where they lack a figure."""
    try:
        figures = {name: speed[name] for name in SPEED}
        accuracy = evaluation["accuracy"]
    except (KeyError, TypeError):
        return None
    return Run(
        case=case,
        accuracy=accuracy,
        peak_memory_mb=speed.get("peak_memory_mb"),
        identity=identity,
        source=source,
        **figures,
    )
