"""What the loader benchmark says is worked out from its figures."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.loader_page import (
    FFCV,
    LIBJPEG,
    OURS_PYTORCH,
    PIL,
    STOCK,
    TARGETS,
    TORCHVISION,
    Measured,
    body,
    draw,
    losses,
)
from formwork.conversion.write import Summary
from formwork.tools.measure import Rates, median_ratio


def measured(workload: str = "photo, jpg 256", **changes) -> Measured:
    """FFCVDataLoader ten times as fast as PyTorch, and behind nobody."""
    rates = {
        PIL: Rates((100.0, 110.0, 90.0)),
        STOCK: Rates((500.0, 500.0, 500.0)),
        FFCV: Rates((1000.0, 1100.0, 900.0)),
        LIBJPEG: Rates((2000.0, 2000.0, 2000.0)),
    }
    values = {
        "rates": {1: rates, 2: rates},
        "layouts": {PIL: "contiguous", STOCK: "channels_last", FFCV: "channels_last", LIBJPEG: ""},
        "first": {PIL: [0.5, 0.6, 0.7], STOCK: [12.0], FFCV: [0.2, 0.4, 0.3]},
        "uncompiled": 6.5,
        "converted": Summary(Counter(jpg=2000), 0, source_bytes=234_000_000, beton_bytes=49_000_000, seconds=4.0),
    }
    return Measured(workload, **(values | changes))


def test_a_ratio_is_the_median_of_the_ratios_of_rounds() -> None:
    """Not the ratio of medians: a busy minute of the machine hits all that ran in it."""
    assert median_ratio(Rates((10.0, 4.0, 30.0)), Rates((5.0, 1.0, 20.0))) == 2.0
    assert measured().ratio(PIL) == pytest.approx(10)
    assert measured().ratio(STOCK) == pytest.approx(2)
    assert measured().ratio(TORCHVISION) is None


def test_where_it_is_ahead_only_the_cost_of_betons_is_left() -> None:
    (cost,) = losses([measured()])

    # An image takes 10 ms with PyTorch and 1 ms with FFCVDataLoader: 2,000 of them save 18 s.
    assert "4.0 s for 2,000 images" in cost
    assert "in 0.2 epochs" in cost
    assert "49 MB beside 234 MB" in cost


def test_every_figure_behind_is_named() -> None:
    faster = {PIL: Rates((100.0,)), "another": Rates((1250.0,)), FFCV: Rates((1000.0,)), LIBJPEG: Rates((2000.0,))}
    slow = {PIL: Rates((100.0,)), "another": Rates((500.0,)), FFCV: Rates((200.0,)), LIBJPEG: Rates((2000.0,))}
    first = {PIL: [0.5], "another": [0.1], "a third": [0.15], FFCV: [0.2]}
    sentences = losses([measured(rates={1: faster, 2: slow}, first=first)])

    assert "photo, jpg 256, 1 worker: FFCVDataLoader gives 0.80 times the images/s of another." in sentences
    assert "photo, jpg 256, 2 workers: FFCVDataLoader gives 0.40 times the images/s of another." in sentences
    first_batch = "photo, jpg 256, first batch: FFCVDataLoader takes 0.20 s; another 0.10 s, a third 0.15 s."
    assert first_batch in sentences
    target = TARGETS["photo, jpg 256"]
    assert f"photo, jpg 256, 2 workers: 2.0 times {PIL}; the target is {target} times." in sentences
    assert len(sentences) == 5  # and what the beton costs


def test_a_fallback_slower_than_plain_pytorch_is_named() -> None:
    rates = measured().rates[2] | {OURS_PYTORCH: Rates((50.0, 55.0, 60.0))}
    sentences = losses([measured(rates={2: rates})])

    assert f"photo, jpg 256, 2 workers: PyTorchDataLoader gives 0.50 times the images/s of {PIL}." in sentences
    assert len(sentences) == 2


def test_a_beton_that_never_pays_has_no_number_of_epochs() -> None:
    rates = {PIL: Rates((100.0,)), FFCV: Rates((90.0,))}
    *_, cost = losses([measured(rates={2: rates})])

    assert "epochs" not in cost
    assert "4.0 s for 2,000 images. It takes 49 MB" in cost


def test_the_section_has_each_workload_and_nothing_of_others() -> None:
    text = body([measured(), measured("digit, raw", uncompiled=None, first={PIL: [0.5], FFCV: [0.3]})], 3, "chart.svg")

    assert "median of 3 epochs" in text
    assert "| photo, jpg 256 | **10.0 x** | **2.0 x** | 5.6 x | 50% |" in text
    assert "| digit, raw | **10.0 x** | **2.0 x** | 1.3 x | 50% |" in text
    assert f"| {PIL} | 100 ± 10% | 100 ± 10% | 10.00 x |" in text
    assert f"| {STOCK} | 12.00 |  |" in text
    assert f"channels_last with {STOCK}, {FFCV}; contiguous with the others" in text
    assert "its first batch takes 6.5 s." in text
    text = body([measured(uncompiled=0.5, compiling=6.5)], 3, "chart.svg")
    assert "its first batch takes 0.5 s, made like those after it by plain code" in text
    assert "FORMWORK_KERNELS=compiled lets it wait for compiled code, 6.5 s." in text
    assert "](chart.svg)" in text
    assert TORCHVISION not in text
    assert "DALI" not in text
    assert "DALI" in body([measured(rates={2: measured().rates[2] | {"NVIDIA DALI": Rates((700.0,) * 3)}})], 3, None)


def test_results_are_the_figures() -> None:
    results = measured().results()

    assert results["images_per_second"][2][FFCV] == (1000.0, 1100.0, 900.0)
    assert results["first_batch_seconds"][STOCK] == [12.0]
    assert results["conversion"]["beton_bytes"] == 49_000_000
    assert results["conversion"]["seconds"] == 4.0


@pytest.mark.parametrize("count", [1, 5])
def test_the_chart_is_drawn(count: int, tmp_path: Path) -> None:
    draw(tmp_path / "chart.svg", [measured(f"workload {number}") for number in range(count)])
    drawn = (tmp_path / "chart.svg").read_bytes()
    assert drawn.startswith(b"<?xml")

    draw(tmp_path / "chart.svg", [measured(f"another {number}") for number in range(count)])
    assert (tmp_path / "chart.svg").read_bytes() != drawn
