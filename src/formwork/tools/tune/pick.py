"""Which of the measured settings to take."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formwork.errors import FormworkError
from formwork.params import BetonParams, Data, Ffcv
from formwork.text import format_bytes
from formwork.tools.measure import Rates
from formwork.tools.tune.fidelity import Fidelity
from formwork.tools.tune.grid import describe
from formwork.tools.tune.sample import Size

TIE = 0.05  # of the fastest rate: what is nearer to it than that counts as equally fast, as measurements differ so much


@dataclass
class Stored:
    """A way of storing the images, tried on a sample.

    Attributes:
        params: those that store the same bytes for each image of the sample; the first names them.
        longest: side of any image of the dataset.
        beton: of the sample.
        shares: of images that are stored as "jpg" and "raw", and of those "passed_through", which are among the former.
        fits: whether the betons of the dataset stay in memory once they are read.
    """

    params: list[BetonParams]
    longest: int
    beton: Path
    shares: Mapping[str, float]
    size: Size
    fits: bool
    fidelity: Fidelity

    @property
    def names(self) -> list[str]:
        """What each of the params is called."""
        return [describe(params, self.longest) for params in self.params]

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass
class Measured(Stored):
    """Also loaded. rates: of the training loader, from memory or from the disk, as the betons fit."""

    rates: Rates


@dataclass(frozen=True)
class Loading:
    """Rates of the loader with the storage that was picked.

    Attributes:
        workers: by data.num_workers.
        orders: by ffcv.order, with ffcv.os_cache false; empty where the betons fit into memory.
        memory: bytes that this process may use, the page cache included.
    """

    workers: Mapping[int, Rates]
    orders: Mapping[str, Rates]
    memory: int


def rule(budget: float, min_psnr: float) -> str:
    return (
        f"Of the settings whose size, with its spread, is within {format_bytes(budget)}, and whose PSNR is "
        f"{show_limit(min_psnr)}, the fastest; of those within {TIE:.0%} of the fastest, the smallest."
    )


def show_limit(min_psnr: float) -> str:
    return f"at least {min_psnr:g} dB" if min_psnr < math.inf else "infinite (all pixels the same)"


def pick(measured: Sequence[Measured], budget: float, min_psnr: float) -> Measured:
    """Raises FormworkError: none is within the budget, or none of those is true enough to the originals."""
    fitting = [one for one in measured if one.size.most <= budget]
    if not fitting:
        smallest = min(measured, key=lambda one: one.size.most)
        raise FormworkError(
            f"No setting fits into {format_bytes(budget)}: the smallest, {smallest.name}, takes "
            f"{format_bytes(smallest.size.most)}. Raise --budget, or try more with --max-resolution and --jpeg-quality."
        )
    faithful = [one for one in fitting if one.fidelity.psnr >= min_psnr]
    if not faithful:
        best = max(fitting, key=lambda one: one.fidelity.psnr)
        raise FormworkError(
            f"No setting within {format_bytes(budget)} has a PSNR that is {show_limit(min_psnr)}: that of the best, "
            f"{best.name}, is {best.fidelity.psnr:.2f} dB. Lower --min-psnr, raise --budget, or try more with "
            "--max-resolution and --jpeg-quality."
        )
    places = _near_fastest({place: one.rates for place, one in enumerate(faithful)})
    return min((faithful[place] for place in places), key=lambda one: one.size.estimate)


def undominated(measured: Sequence[Measured]) -> list[Measured]:
    """The Pareto set: those than which no other is as small, as true to the originals and, within TIE, as fast."""
    return [one for one in measured if not any(_dominates(other, one) for other in measured)]


def _dominates(other: Measured, one: Measured) -> bool:
    smaller, truer, faster = (
        one.size.estimate - other.size.estimate,
        _difference(other.fidelity.psnr, one.fidelity.psnr),
        other.rates.median - one.rates.median,
    )
    no_worse = smaller >= 0 and truer >= 0 and faster >= -TIE * one.rates.median
    return no_worse and (smaller > 0 or truer > 0 or faster > 0)


def _difference(a: float, b: float) -> float:
    return 0.0 if a == b else a - b  # also where both are infinite


def choose_loading(loading: Loading, data: Data, ffcv: Ffcv) -> dict[str, object]:
    """Params of the loader that are to change, and their new values.

    The fewest workers within TIE of the fastest: the training needs cores, too. Where betons do not fit into memory,
    os_cache is false, and the order stays unless another is faster by more than TIE.
    """
    rates = loading.workers
    wanted = {"data.num_workers": min(_near_fastest(rates)), "ffcv.os_cache": not loading.orders}
    if loading.orders:
        near = _near_fastest(loading.orders)
        wanted["ffcv.order"] = ffcv.order if ffcv.order in near else near[0]
    current = {"data.num_workers": max(data.num_workers, 1), "ffcv.os_cache": ffcv.os_cache, "ffcv.order": ffcv.order}
    return {key: value for key, value in wanted.items() if value != current[key]}


def _near_fastest(rates: Mapping[Any, Rates]) -> list[Any]:
    fastest = max(rate.median for rate in rates.values())
    return [name for name, rate in rates.items() if rate.median >= (1 - TIE) * fastest]


def command(changed: Mapping[str, object]) -> str | None:
    """The line that makes an experiment with these params; None where nothing is changed."""
    if not changed:
        return None
    shown = {True: "true", False: "false", None: "null"}
    settings = [
        f"-S {key}={shown[value] if value is None or isinstance(value, bool) else value}"
        for key, value in changed.items()
    ]
    return " ".join(["dvc exp run", *settings])
