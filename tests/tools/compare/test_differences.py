"""Whether a difference is real: against figures that are known, and on made-up models of which the truth is known."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from formwork.evaluation.predictions_file import METADATA
from formwork.tools.compare import statistics
from formwork.tools.compare.answers import Answers, read_answers
from formwork.tools.compare.differences import Difference, find_differences
from formwork.tools.compare.statistics import Estimate, estimate, holm, images_needed, mcnemar, seeds_needed

NAMES = ("a", "b")


def answers(right: np.ndarray, start: int = 0, **changes: object) -> dict[str, dict]:
    """Of a model for images of two classes, by which of them it has right."""
    count = len(right)
    targets = np.arange(count) % 2
    names = np.array([f"{number:06}" for number in range(start, start + count)], object)
    values = {
        "paths": names,
        "contents": names,
        "groups": np.full(count, "", object),
        "targets": targets,
        "predicted": np.where(right, targets, 1 - targets),
        "probabilities": None,
        "names": NAMES,
        "task": "classes",
    }
    return {"test": Answers(**values | changes)}  # type: ignore[arg-type]


def only(cases: dict[str, list[dict]], metric: str = "accuracy", deviations: tuple[float, ...] = ()) -> Difference:
    found, notes = find_differences(cases, metric, deviations)
    assert notes == []
    (one,) = found
    return one


def split_of(first: int, second: int, both: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Which images each of two models has right, by numbers of those that one alone has."""
    counts = [first, second, both, neither]
    return np.repeat([True, False, True, False], counts), np.repeat([False, True, True, False], counts)


def test_mcnemar_is_that_of_a_textbook():
    """A. Agresti, Categorical Data Analysis, 3rd edition, section 11.1: ratings of 1,600 people, 150 and 86 of whom
    changed their minds."""
    assert mcnemar(150, 86) == pytest.approx(3.7e-5, rel=0.02)
    assert mcnemar(10, 2) == pytest.approx(2 * sum([1, 12, 66]) / 2**12)
    assert mcnemar(0, 0) == 1


def test_holm_corrects_in_the_order_of_p():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5]
    assert holm([0.9, 0.8]) == [1, 1]


def test_one_seed_is_a_mcnemar_test_with_a_paired_interval():
    first, second = split_of(5, 25, 900, 70)
    one = only({"A": [answers(first)], "B": [answers(second)]})
    assert one.found.p == mcnemar(5, 25)
    assert (one.only_first, one.only_second, one.images, one.seeds) == (5, 25, 1000, 1)
    assert one.scores == (0.905, 0.925)
    assert one.found.value == pytest.approx(0.02)
    half = 1.96 * np.sqrt(30 / 1000 - 0.02**2) / np.sqrt(1000)  # the normal approximation
    assert one.found.low == pytest.approx(0.02 - half, abs=0.0015)
    assert one.found.high == pytest.approx(0.02 + half, abs=0.0015)
    assert one.is_real
    assert one.sentence.startswith("On 1,000 test images, B has a higher accuracy than A by 0.0200 (95 % interval 0.0")
    assert one.sentence.endswith("p < 0.001 by McNemar's exact test): the difference is real, and B is the better one.")


def test_what_could_be_chance_is_not_decided_and_says_what_would_do():
    first, second = split_of(11, 15, 60, 14)
    one = only({"A": [answers(first)], "B": [answers(second)]})
    assert not one.is_real
    needed = (0.26 - 0.04**2) * (1.95996 + 0.84162) ** 2 / 0.04**2
    assert one.needed_images == pytest.approx(needed, rel=0.06)
    assert "it is not decided whether there is a difference; if it is as large as that, about 1," in one.sentence


def test_an_interval_without_zero_alone_is_not_enough():
    """Five images that only one model has right: so few could be chance, as the exact test has it."""
    one = only({"A": [answers(np.array([False] * 5 + [True] * 95))], "B": [answers(np.ones(100, bool))]})
    assert one.found.low > 0
    assert one.found.p == 0.0625
    assert not one.is_real


def test_the_same_predictions_are_no_difference():
    right = np.arange(50) % 5 > 0
    one = only({"FFCV": [answers(right)], "PyTorch": [answers(right)]})
    assert (one.found.value, one.p, one.is_real, one.same) == (0, 1, False, True)
    assert one.sentence == "On 50 test images, PyTorch and FFCV predict the same for every image."


def test_the_spread_of_seeds_counts_however_many_images_there_are(monkeypatch):
    """A case that is better with one seed and worse with the next is not a better one, though each model differs."""
    monkeypatch.setattr(statistics, "RESAMPLES", 300)
    rng = np.random.default_rng(0)
    base = [rng.random(5000) < 0.9 for _ in range(4)]
    other = [rng.random(5000) < share for share in (0.95, 0.87, 0.96, 0.86)]
    models = {"A": [answers(right) for right in base], "B": [answers(right) for right in other]}
    each = [only({name: [of_case[seed]] for name, of_case in models.items()}) for seed in range(4)]
    assert all(one.is_real for one in each)
    one = only(models)
    assert (one.seeds, one.is_real) == (4, False)
    assert one.found.of_seeds > 10 * one.found.of_images
    assert one.needed_seeds is not None
    assert "over 4 seeds" in one.sentence

    steady = [rng.random(5000) < 0.93 for _ in range(4)]
    assert only({"A": models["A"], "B": [answers(right) for right in steady]}).is_real


def test_intervals_hold_what_they_say(monkeypatch):
    """Of 100 comparisons of settings that do not differ, over seeds that do, about 5 are called real."""
    monkeypatch.setattr(statistics, "RESAMPLES", 200)
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(100):
        models = {}
        for name in "AB":
            shares = 0.9 + rng.normal(0, 0.02, 3)
            hard = rng.random(300) < 0.1  # of all seeds
            models[name] = [answers((rng.random(300) < share) & ~hard) for share in shares]
        wrong += only(models).is_real
    assert wrong <= 12


def test_images_of_one_group_are_one_observation():
    """A hundred copies of ten images tell no more than the ten."""
    first, second = np.zeros(100, bool), np.arange(100) < 60
    groups = np.array([f"person {number // 10}" for number in range(100)], object)
    one = only({"A": [answers(first, groups=groups)], "B": [answers(second, groups=groups)]})
    alone = only({"A": [answers(first)], "B": [answers(second)]})
    assert one.found.test == "paired bootstrap"
    assert one.found.high - one.found.low > 2.5 * (alone.found.high - alone.found.low)


def test_many_cases_are_corrected_and_those_with_other_images_left_out():
    first, second = split_of(4, 16, 60, 20)
    cases = {"A": [answers(first)], "B": [answers(second)], "C": [answers(second)], "D": [answers(second, start=7)]}
    found, (note,) = find_differences(cases, "accuracy", ())
    assert [(one.first, one.second) for one in found] == [("A", "B"), ("A", "C"), ("B", "C")]
    p = mcnemar(4, 16)
    assert [one.p for one in found] == pytest.approx([3 * p, 3 * p, 1])
    assert found[0].found.p == p
    assert "corrected for 3 pairs" in found[0].sentence
    assert note.endswith("Those that differ are not paired: A, B, C / D.")


def test_numbers_are_compared_by_their_errors_and_less_is_better():
    rng = np.random.default_rng(0)
    targets = rng.normal(0, 10, (200, 2))
    near, far = (targets + rng.normal(0, sigma, targets.shape) for sigma in (1.0, 2.0))
    made = {"targets": targets, "names": ("x", "y"), "task": "regression"}
    cases = {
        name: [answers(np.ones(200, bool), predicted=value, **made)] for name, value in (("far", far), ("near", near))
    }
    one = only(cases, "MAE", (1.0, 10.0))
    errors = [np.abs(value - targets) / (1.0, 10.0) for value in (far, near)]
    assert one.scores == pytest.approx([error.mean() for error in errors])
    assert one.is_real
    assert "near has a lower MAE than far" in one.sentence
    assert one.sentence.endswith("near is the better one.")


def test_labels_are_compared_by_mean_average_precision():
    rng = np.random.default_rng(0)
    truth = rng.random((300, 3)) < 0.3
    good, poor = (np.clip(truth * lift + rng.random((300, 3)), 0, 2) / 2 for lift in (0.6, 0.3))
    made = {"targets": truth, "names": ("p", "q", "r"), "task": "multilabel"}
    cases = {
        name: [answers(np.ones(300, bool), predicted=value > 0.5, probabilities=value.astype(np.float32), **made)]
        for name, value in (("poor", poor), ("good", good))
    }
    from sklearn.metrics import average_precision_score

    one = only(cases, "mAP")
    assert one.scores == pytest.approx([average_precision_score(truth, value) for value in (poor, good)], abs=1e-6)
    assert one.is_real


def test_what_is_needed_may_be_out_of_reach():
    """Seeds that differ so much that no number of images helps, and the other way round."""
    found = Estimate(0.01, -0.03, 0.05, 0.6, "", of_images=1e-6, of_seeds=4e-4)
    assert images_needed(found, 1000) is None
    assert seeds_needed(found, 3) == pytest.approx(3 * 4e-4 / ((0.01 / 2.8016) ** 2 - 1e-6), abs=2)
    assert seeds_needed(Estimate(0.01, 0, 0, 1, "", 1e-6, 0.0), 1) is None
    assert images_needed(Estimate(0.0, 0, 0, 1, "", 1e-6, 0.0), 100) is None


def test_seeds_that_agree_exactly_leave_no_doubt():
    never = estimate(np.array([0.5, 0.5]), np.array([0.5, 0.5]), np.zeros((2, 10)), None, 100)
    assert (never.p, never.excludes_zero) == (1, False)


@pytest.mark.parametrize("grouped", [False, True])
def test_a_file_is_read_by_split_in_the_order_of_paths(tmp_path: Path, grouped: bool):
    path = tmp_path / "predictions.parquet"
    columns = {
        "path": ["b.png", "a.png", "c.png"],
        "sha256": ["22" * 32, "11" * 32, "33" * 32],
        "split": ["val", "val", "test"],
        "target": ["b", "a", "a"],
        "predicted": ["a", "a", "a"],
        "probabilities": pa.array([[0.6, 0.4], [0.9, 0.1], [0.8, 0.2]], pa.list_(pa.float32())),
    }
    columns |= {"group": ["g", "", ""]} if grouped else {}
    table = pa.table(columns).replace_schema_metadata({METADATA: '{"task": "classes", "names": ["a", "b"]}'})
    pa.parquet.write_table(table, path)
    found = read_answers(path)
    assert found.keys() == {"val", "test"}
    assert found["val"].paths.tolist() == ["a.png", "b.png"]
    assert found["val"].right.tolist() == [True, False]
    assert found["val"].groups.tolist() == ["", "g" if grouped else ""]
