"""Scores of groups of images: in the table, in predictions.parquet, and the same whatever else is drawn."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from formwork.evaluation.assess import Bootstrap
from formwork.evaluation.groups import write_groups
from formwork.evaluation.predictions_file import read_predictions, write_predictions
from formwork.images.manifest import write_manifest
from formwork.images.row import Columns, Row
from tests.evaluation.test_metrics import random_classes, settings

NAMES = [["", "a", "b", "=c"][place % 4] for place in range(40)]


@pytest.fixture
def manifest(tmp_path: Path):
    rows = [
        Row(f"{place:02}.png", "x", 0, 1, 8, 8, "L", "PNG", f"{place:064x}", group=group)
        for place, group in enumerate(NAMES)
    ]
    return write_manifest(tmp_path / "val.csv", rows, Columns(groups=True))


def groups_of(folder: Path, manifest, bootstrap: Bootstrap) -> list[dict[str, str]]:
    found = {"val": random_classes(0, 40, 4, 4)}
    write_groups(folder / "groups.csv", found, {"val": manifest}, settings("classes", 4), {"val": bootstrap})
    with (folder / "groups.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_group_has_the_mean_over_its_images(tmp_path: Path, manifest) -> None:
    predictions = random_classes(0, 40, 4, 4)
    rows = groups_of(tmp_path, manifest, Bootstrap(500, 0, "val"))
    assert [(row["group"], row["images"]) for row in rows] == [("'=c", "10"), ("a", "10"), ("b", "10")]
    for row, name in zip(rows, ("=c", "a", "b"), strict=True):
        mine = np.array(NAMES) == name
        right = (predictions.likeliest == predictions.targets)[mine]
        assert float(row["accuracy"]) == pytest.approx(right.mean())
        assert float(row["loss"]) == pytest.approx(predictions.losses[mine].mean(), rel=1e-5)
        assert float(row["loss_low"]) < float(row["loss"]) < float(row["loss_high"])
    assert rows == groups_of(tmp_path, manifest, Bootstrap(500, 0, "val"))
    without = groups_of(tmp_path, manifest, Bootstrap(0, 0, "val"))
    assert [row["accuracy"] for row in without] == [row["accuracy"] for row in rows]
    assert {row["loss_low"] for row in without} == {""}


def test_predictions_have_the_groups(tmp_path: Path, manifest) -> None:
    found = {"val": random_classes(0, 40, 4, 4)}
    write_predictions(tmp_path / "p.parquet", found, {"val": manifest}, settings("classes", 4))
    assert pq.read_table(tmp_path / "p.parquet")["group"].to_pylist() == NAMES
    assert read_predictions(tmp_path / "p.parquet").targets.tolist() == found["val"].targets.tolist()
