"""Groups of classes, by name and by id."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from formwork.datasets.candidates import Candidate, Candidates
from formwork.datasets.groups import select_group
from formwork.errors import DatasetError
from formwork.images.manifest import SPLITS
from tests.datasets.linking import NAME, rows, run_link
from tests.make_images import make_dataset


def columns(files: Sequence[Candidate]) -> Candidates:
    names = sorted({file.class_name for file in files})
    return Candidates(
        [file.path for file in files],
        names,
        np.array([names.index(file.class_name) for file in files], np.int32),
        np.array([SPLITS.index(file.split) for file in files], np.int8),
    )


CLASSES = ["crab", "lion", "lobster", "snail", "tiger"]
CANDIDATES = columns(
    [Candidate(split, name, f"{split}/{name}/1.png") for split in ("train", "val") for name in CLASSES]
)
GROUPS = {"cats": ["tiger", "lion"], "ids": [4, "crab", 0], "wrong": ["Lobstr", 5, -1, "zzz"], "none": []}


def classes(group: str) -> list[str]:
    return [c.class_name for c in select_group(CANDIDATES, "zoo", group, GROUPS) if c.split == "train"]


def test_all_is_every_class() -> None:
    assert select_group(CANDIDATES, "zoo", "all", {}) is CANDIDATES


def test_by_name_and_by_id_in_both_splits() -> None:
    assert classes("cats") == ["lion", "tiger"]
    assert classes("ids") == ["crab", "tiger"]
    assert [c.split for c in select_group(CANDIDATES, "zoo", "cats", GROUPS)] == ["train", "train", "val", "val"]
    assert [c.path for c in select_group(CANDIDATES, "zoo", "ids", GROUPS)] == [
        f"{split}/{name}/1.png" for split in ("train", "val") for name in ("crab", "tiger")
    ]


@pytest.mark.parametrize(
    ("group", "reasons"),
    [
        ("cat", ["data.group in params.yaml is 'cat'", "datasets.zoo.groups does not define", "Did you mean 'cats'?"]),
        ("qqq", ["Known: all, cats, ids, none, wrong."]),
        ("none", ["datasets.zoo.groups.none in params.yaml is empty"]),
        (
            "wrong",
            [
                "datasets.zoo.groups.wrong in params.yaml names classes that zoo does not have",
                "'Lobstr': Did you mean 'lobster'?",
                "5: ids go from 0 to 4.",
                "-1: ids go from 0 to 4.",
                "'zzz': Known: crab, lion, lobster, snail, tiger.",
            ],
        ),
    ],
)
def test_mistakes_are_listed_with_near_matches(group: str, reasons: list[str]) -> None:
    with pytest.raises(DatasetError) as error:
        classes(group)
    for reason in reasons:
        assert reason in str(error.value)


def test_names_without_a_near_match_are_not_listed_by_the_thousand() -> None:
    many = columns([Candidate("train", f"n{i:04d}", "x") for i in range(1000)])
    with pytest.raises(DatasetError, match=r"n0009, \.\.\. \(1000 in all\)\.$"):
        select_group(many, "zoo", "g", {"g": ["qqqq"]})


def test_link_numbers_the_classes_of_the_group(tmp_path: Path) -> None:
    make_dataset(tmp_path / "raw" / NAME, CLASSES, per_class=12)

    settings = run_link(tmp_path, {"groups": GROUPS}, group="cats")

    assert settings.class_names == ["lion", "tiger"]
    for split in ("train", "val"):
        assert set(rows(tmp_path, split).values()) == {("lion", 0), ("tiger", 1)}


def test_an_unknown_group_is_found_before_any_image_is_read(tmp_path: Path) -> None:
    raw = make_dataset(tmp_path / "raw" / NAME, CLASSES, per_class=2)
    (raw / "crab" / "000.png").write_bytes(b"no image")

    with pytest.raises(DatasetError, match="Did you mean 'cats'"):
        run_link(tmp_path, {"groups": GROUPS}, group="cast")


# --- Classes that are named by numbers --------------------------------------------------------------


def chosen(names: list[str], *entries: str | int) -> list[str]:
    candidates = columns([Candidate("train", name, f"{name}/1.png") for name in names])
    return [c.class_name for c in select_group(candidates, "zoo", "g", {"g": list(entries)})]


MONTHS = [str(month) for month in range(1, 13)]


@pytest.mark.parametrize(
    ("names", "entries", "classes"),
    [
        (MONTHS, [1, 2, 10], ["1", "2", "10"]),
        (MONTHS, [12], ["12"]),
        (MONTHS, ["3", 4], ["3", "4"]),
        ([f"{agent:03}" for agent in range(1, 12)], [7, 10], ["007", "010"]),
        (["00", "01", "02"], [0, 2], ["00", "02"]),
        (["-1", "0", "1"], [-1, 1], ["-1", "1"]),
        (["1", "01", "cat"], [1], ["1"]),
        (["5", "cat", "dog"], [5, "dog"], ["5", "dog"]),
        (["1a", "2nd", "0x1"], [0], ["0x1"]),  # none of these is a number: ids
        ([str(2**70), "1"], [2**70], [str(2**70)]),
    ],
)
def test_a_number_is_the_name_of_a_class_that_is_called_so(
    names: list[str], entries: list[str | int], classes: list[str]
) -> None:
    assert chosen(names, *entries) == classes


@pytest.mark.parametrize(
    ("names", "entry", "reason"),
    [
        (MONTHS, 0, "0: no class is called so. Classes of this dataset are named by numbers, such as '1'"),
        (MONTHS, 13, "13: no class is called so"),
        (["5", "cat", "dog"], 1, "1: no class is called so"),
        (["001", "01"], 1, "1: there are '001' and '01'. Write which one, in quotes."),
        (["007", "008"], "7", "'7': Did you mean '007'?"),
    ],
)
def test_a_number_that_could_mean_two_things_is_an_error(names: list[str], entry: str | int, reason: str) -> None:
    with pytest.raises(DatasetError, match=re.escape(reason)):
        chosen(names, entry)
