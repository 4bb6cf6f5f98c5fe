"""The pick follows its rule, and what cannot be picked is said with what to do."""

import math
from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.params import BetonParams, Data, Ffcv
from formwork.tools.measure import Rates
from formwork.tools.tune.fidelity import Fidelity
from formwork.tools.tune.pick import (
    Loading,
    Measured,
    choose_loading,
    command,
    pick,
    rule,
    undominated,
)
from formwork.tools.tune.sample import Size


def measured(name: int, size: float, psnr: float, rate: float, spread: float = 0.0) -> Measured:
    """A setting that is known by its quality."""
    return Measured(
        params=[BetonParams(write_mode="jpg", jpeg_quality=name)],
        longest=500,
        beton=Path(),
        shares={},
        size=Size(size, spread),
        fits=True,
        fidelity=Fidelity(psnr, psnr),
        rates=Rates((rate / 2, rate, rate * 3)),
    )


def quality(one: Measured) -> int:
    return one.params[0].jpeg_quality


SETTINGS = [
    measured(1, size=100, psnr=30, rate=5000),
    measured(2, size=200, psnr=40, rate=2000),
    measured(3, size=300, psnr=41, rate=2050, spread=20),
    measured(4, size=400, psnr=math.inf, rate=4000),
]


@pytest.mark.parametrize(
    ("budget", "min_psnr", "picked"),
    [
        (1000, 0, 1),
        (1000, 35, 4),  # the fastest of 2, 3 and 4
        (399, 35, 2),  # as fast as 3, within 5 %, and smaller
        (399, 40.5, 3),
        (320, 40.5, 3),
        (1000, math.inf, 4),
        (200, 35, 2),
    ],
)
def test_the_fastest_within_the_budget_that_is_true_enough(budget, min_psnr, picked):
    assert quality(pick(SETTINGS, budget, min_psnr)) == picked
    assert quality(pick(SETTINGS[::-1], budget, min_psnr)) == picked


def test_the_spread_of_a_size_counts_against_the_budget():
    with pytest.raises(FormworkError, match=r"No setting within 319 B has a PSNR that is at least 41 dB"):
        pick(SETTINGS, 319, 41)
    assert quality(pick(SETTINGS, 320, 41)) == 3


def test_a_budget_that_nothing_meets():
    with pytest.raises(FormworkError) as refused:
        pick(SETTINGS, 99, 0)
    assert str(refused.value) == (
        "No setting fits into 99 B: the smallest, jpg full size q1, takes 100 B. Raise --budget, or try more with "
        "--max-resolution and --jpeg-quality."
    )


def test_a_fidelity_that_nothing_within_the_budget_has():
    with pytest.raises(FormworkError) as refused:
        pick(SETTINGS, 320, math.inf)
    assert str(refused.value) == (
        "No setting within 320 B has a PSNR that is infinite (all pixels the same): that of the best, jpg full size "
        "q3, is 41.00 dB. Lower --min-psnr, raise --budget, or try more with --max-resolution and --jpeg-quality."
    )


def test_the_rule_is_said():
    assert rule(20e9, 35.5) == (
        "Of the settings whose size, with its spread, is within 20 GB, and whose PSNR is at least 35.5 dB, the "
        "fastest; of those within 5% of the fastest, the smallest."
    )


def test_the_pareto_set():
    def best(*settings):
        return [quality(one) for one in undominated(settings)]

    assert best(*SETTINGS) == [1, 2, 3, 4]
    slower = measured(5, size=200, psnr=40, rate=1999)
    assert best(*SETTINGS, slower) == [1, 2, 3, 4]
    assert best(SETTINGS[1], measured(5, size=201, psnr=40, rate=2090)) == [2]  # hardly faster: that is chance
    assert best(SETTINGS[1], measured(5, size=201, psnr=40, rate=2200)) == [2, 5]
    exact = measured(5, size=400, psnr=math.inf, rate=4000)
    assert best(SETTINGS[3], exact) == [4, 5]  # neither is better


def rates(**by_name: float) -> dict:
    return {name: Rates((rate,)) for name, rate in by_name.items()}


@pytest.mark.parametrize(
    ("by_workers", "workers", "changed"),
    [
        ({1: 100, 2: 190, 4: 300}, 2, {"data.num_workers": 4}),
        ({1: 100, 2: 190, 4: 195}, 2, {}),
        ({1: 100, 2: 101}, 2, {"data.num_workers": 1}),
        ({1: 100, 2: 101}, 0, {}),  # 0 is one thread
    ],
)
def test_the_fewest_workers_that_are_fast(by_workers, workers, changed):
    loading = Loading({number: Rates((rate,)) for number, rate in by_workers.items()}, {}, memory=10)
    assert choose_loading(loading, Data(name="a", num_workers=workers), Ffcv()) == changed


def test_betons_that_fit_into_memory_stay_there():
    loading = Loading({2: Rates((1,))}, {}, memory=10)
    data = Data(name="a", num_workers=2)
    assert choose_loading(loading, data, Ffcv(os_cache=False, order="random")) == {"ffcv.os_cache": True}


@pytest.mark.parametrize(
    ("order", "by_order", "changed"),
    [
        ("random", {"random": 100, "quasi_random": 104}, {}),
        ("random", {"random": 100, "quasi_random": 110}, {"ffcv.order": "quasi_random"}),
        ("quasi_random", {"quasi_random": 100, "random": 60}, {}),
        ("sequential", {"sequential": 100}, {}),
    ],
)
def test_the_order_of_betons_larger_than_memory(order, by_order, changed):
    loading = Loading({2: Rates((1,))}, rates(**by_order), memory=10)
    data = Data(name="a", num_workers=2)
    assert choose_loading(loading, data, Ffcv(order=order)) == {"ffcv.os_cache": False, **changed}
    assert choose_loading(loading, data, Ffcv(order=order, os_cache=False)) == changed


def test_the_line_for_dvc():
    changed = {"ffcv.beton.max_resolution": None, "ffcv.beton.passthrough": False, "data.num_workers": 1}
    assert command(changed) == (
        "dvc exp run -S ffcv.beton.max_resolution=null -S ffcv.beton.passthrough=false -S data.num_workers=1"
    )
    assert command({}) is None
