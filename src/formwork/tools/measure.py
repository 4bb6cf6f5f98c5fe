"""Measuring contenders fairly, and saying on which machine, versions and commit."""

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from formwork.errors import FormworkError
from formwork.git import git
from formwork.system import cores, cpu, memory

PACKAGES = ("ffcv", "numba", "numpy", "pillow", "torch", "torchvision")


@dataclass(frozen=True)
class Rates:
    """Work per second of one contender, a value for each round, in the order of measuring."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half the distance from the lowest to the highest value, as a share of the median."""
        return (max(self.values) - min(self.values)) / 2 / self.median

    def __str__(self) -> str:
        return f"{self.median:,.0f} ± {self.spread:.0%}"


def alternate(contenders: Mapping[str, Callable[[], int]], rounds: int = 5) -> dict[str, Rates]:
    """Run every contender once to warm up, then `rounds` times in turn, so that a busy minute of the machine hits all.

    Args:
        contenders: by name, a call that does its work once and returns how much that was, in images for example.
    """
    for work in contenders.values():
        work()
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, work in contenders.items():
            start = time.perf_counter()
            amount = work()
            rates[name].append(amount / (time.perf_counter() - start))
    return {name: Rates(tuple(values)) for name, values in rates.items()}


def median_ratio(ours: Rates, theirs: Rates) -> float:
    """The median of the ratios of rounds, whose parts ran one after the other."""
    return statistics.median(one / other for one, other in zip(ours.values, theirs.values, strict=True))


def environment() -> dict[str, str]:
    """What a number was measured on: CPU, cores, memory, Python, versions of packages, commit of this repository."""
    total, _ = memory()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "cpu": cpu(),
        "cores": str(cores()),
        "memory": f"{total / 2**30:.0f} GiB",
        "python": platform.python_version(),
        **versions,
        "commit": commit(),
    }


def commit() -> str:
    """Commit of the repository that this file is in; marked as dirty where its code or params are edited. Docs and
    results may be: benchmarks write them."""
    here = Path(__file__).parent
    try:
        head = git(here, "describe", "--always", "--exclude=*").decode().strip()
        changed = git(
            here,
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            ":/src",
            ":/benchmarks",
            ":/params.yaml",
            ":/dvc.yaml",
        )
    except FormworkError:  # no repository, or no git
        return "unknown"
    return f"{head}-dirty" if changed else head
