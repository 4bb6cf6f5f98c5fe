"""A setting that a comparison runs."""

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
