"""How two contents differ, and by how much."""

import io
import json

import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from safetensors.torch import save

from formwork.tools.verify.contents import describe


def as_parquet(**columns: object) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def model(value: float, epoch: int = 3) -> bytes:
    buffer = io.BytesIO()
    weights = {"stem.weight": torch.ones(2, 2), "head.bias": torch.tensor([0.0, value])}
    torch.save({"weights": weights, "epoch": epoch, "val": {"accuracy": 0.5}}, buffer)
    return buffer.getvalue()


def test_numbers_of_metrics_are_told_with_their_difference():
    before, after = ({"val_accuracy": 0.5, "of": {"a": a}, "name": name} for a, name in ((1, "x"), (3, "y")))
    sentences, figures = describe("metrics.json", json.dumps(before).encode(), json.dumps(after).encode())
    assert sentences == ["of.a: 1 in dvc.lock, 3 here, +2", "name: x in dvc.lock, y here"]
    assert figures == {"of.a": [1, 3], "name": ["x", "y"]}
    assert describe("metrics.json", b'{"a":1}', b'{"a": 1}')[0] == [
        "the numbers are the same, and their spelling differs"
    ]
    assert describe("metrics.json", b'{"a":1}', b"{}")[0] == ["a: 1 in dvc.lock, nothing here"]


@pytest.mark.parametrize(("name", "separator"), [("table.csv", ","), ("curve.tsv", "\t")])
def test_rows_of_tables_are_counted(name, separator):
    before, after = (
        "\n".join(separator.join(row) for row in rows).encode()
        for rows in (["ab", "12", "34"], ["ab", "12", "35", "67"])
    )
    sentences, figures = describe(name, before, after)
    assert sentences == ["2 rows of 4 differ"]
    assert figures == {"rows": [3, 4], "rows_only_in_lock": 1, "rows_only_here": 2}
    assert describe(name, b"a\n1\n2\n", b"a\n2\n1\n")[0] == ["the rows are the same, in another order or spelling"]


def test_predictions_are_told_by_rows_and_the_largest_difference():
    values = [[0.25, 0.75], [0.5, 0.5]]
    before = as_parquet(path=["a", "b"], probabilities=values)
    after = as_parquet(path=["a", "b"], probabilities=[values[0], [0.375, 0.625]])
    sentences, figures = describe("predictions.parquet", before, after)
    assert sentences == ["1 row of 2 differ", "probabilities: largest difference 0.125"]
    assert figures["largest_difference_of_probabilities"] == 0.125
    other = as_parquet(path=["a"], score=[1.0])
    assert describe("p.parquet", before, other)[0] == ["columns path, probabilities in dvc.lock, path, score here"]


def test_models_are_told_by_their_weights():
    sentences, figures = describe("best.pt", model(1.0), model(0.75, epoch=4))
    assert sentences[0] == "1 of 2 tensors differ; the largest difference of a weight is 0.25, in head.bias"
    assert "epoch: 3 in dvc.lock, 4 here, +1" in sentences
    assert figures["largest_difference_of_weights"] == 0.25
    sentences, _ = describe("best.pt", model(1.0), model(float("nan")))
    assert "is nan, in head.bias" in sentences[0]

    before, after = (save({"w": torch.full((2,), value)}) for value in (1.0, 3.0))
    assert "difference of a weight is 2, in w" in describe("initial.safetensors", before, after)[0][0]
    assert describe("i.safetensors", before, save({"v": torch.ones(2)}))[0] == ["other weights: v, w"]


def test_pictures_and_what_cannot_be_read_are_told_by_bytes():
    assert describe("a.png", b"abcd", b"abXd")[0] == ["1 bytes differ (4 B)"]
    sentences, figures = describe("best.pt", b"no model", b"no models")
    assert sentences[0] == "1 bytes differ (8 and 9 bytes)"
    assert sentences[1].startswith("not compared by meaning: ")
    assert figures["sizes"] == [8, 9]
    assert describe("a.png", None, b"x")[0] == [
        "a.png: dvc.lock has no such file, or its content is not in DVC's cache"
    ]
    assert describe("a.png", b"x", None)[0][0].startswith("a.png: this run has no such file")
