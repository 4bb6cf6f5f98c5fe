"""What `make run` ends with: a few lines that fit a terminal, or what is missing."""

import json
from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.params import Params
from formwork.system import machine_id
from formwork.text import columns, width
from formwork.tools.summary import read_curve, summary
from tests.workspace import Workspace


def test_a_run_in_a_few_lines(repo: Workspace) -> None:
    lines = repo.run("python", "src/summary.py").output.splitlines()

    assert all(len(line) <= 80 for line in lines)
    names = "dataset", "model", "accuracy", "worst", "loader", "waiting", "plots"
    assert tuple(line.split()[0] for line in lines) == names
    text = "\n".join(lines)
    assert "shapes: 42 images to train on, 12 to validate, 6 to test" in text
    assert "from epoch 1 of 1, in models/best.pt" in text
    assert "ffcv, " in text
    assert "dvc plots show" in text


def test_the_best_epoch_is_named(tmp_path: Path) -> None:
    for name, content in {
        "convert/train.json": '{"images": 1448}',
        "convert/val.json": '{"images": 349}',
        "convert/test.json": '{"images": 180}',
        "evaluate/metrics.json": json.dumps(
            {"val_accuracy": 0.5, "test_accuracy": 0.4, "val_worst_class": "3", "val_worst_class_accuracy": 0.25}
        ),
        "speed/metrics.json": json.dumps(
            {"loader": "ffcv", "images_per_second": 9080.8, "waiting_share": 0.0212, "machine_id": machine_id()}
        ),
        "train/plots/metrics/val/accuracy.tsv": "step\taccuracy\n1\t0.4\n2\t0.5\n3\t0.5\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    params = Params.model_validate({"data": {"name": "digits"}})

    found = dict(summary(params, tmp_path))

    assert found["model"].endswith("from epoch 2 of 3, in models/best.pt")
    assert found["dataset"] == "digits: 1,448 images to train on, 349 to validate, 180 to test"
    assert found["accuracy"] == "50.00% on the validation split, 40.00% on the test split"
    assert found["loader"] == "ffcv, 9,081 images/s"
    assert "betons" not in found
    for share, said in ((0.19, None), (0.33, "33% of 2 MB no image needs: `make repack`")):
        stored = {"images": 1448, "parts": 2, "beton_bytes": 2e6, "dead_share": share}
        (tmp_path / "convert/train.json").write_text(json.dumps(stored))
        assert dict(summary(params, tmp_path)).get("betons") == said
    (tmp_path / "convert/train.json").write_text('{"images": 1448}')
    (tmp_path / "evaluate/metrics.json").write_text('{"val_mae": 4.5, "test_mae": 1200}')
    (tmp_path / "train/plots/metrics/val/mae.tsv").write_text("step\tmae\n1\t9\n2\t4\n3\t4.5\n")
    assert dict(summary(params, tmp_path))["MAE"] == "4.5000 on the validation split, 1200.00 on the test split"
    assert dict(summary(params, tmp_path))["model"].endswith("from epoch 2 of 3, in models/best.pt")
    worst = tmp_path / "evaluate/metrics.json"
    worst.write_text(json.dumps({"val_accuracy": 0.5, "val_worst_class": "雪" * 90, "val_worst_class_accuracy": 0.25}))
    long = Params.model_validate({"data": {"name": "a_dataset_of_a_very_long_name" * 3}})
    lines = columns(summary(long, tmp_path)).splitlines()
    assert max(map(width, lines)) <= 80
    assert lines[0].endswith("...: 1,448 images to train on, 349 to validate, 180 to test")
    assert lines[3].endswith("雪..., 25.00%")
    speed = tmp_path / "speed/metrics.json"
    speed.write_text(speed.read_text().replace(machine_id(), "0badcafe"))
    assert dict(summary(params, tmp_path))["loader"] == "ffcv, 9,081 images/s, on another machine"
    (tmp_path / "evaluate/metrics.json").unlink()
    with pytest.raises(FormworkError, match=r"evaluate/metrics\.json is not there yet\. Run `dvc repro`"):
        summary(params, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [("step\tloss\n", "cannot be read: it has no epochs"), ("step\n1\n", "cannot be read"), ("{", "cannot be read")],
)
def test_curves_that_are_none(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "loss.tsv").write_text(content)
    with pytest.raises(FormworkError, match=said):
        read_curve(tmp_path / "loss.tsv")
    (tmp_path / "loss.tsv").write_text("timestamp\tstep\tloss\n1\t1\t0.5\n2\t2\t0.25\n")
    assert read_curve(tmp_path / "loss.tsv") == ([1, 2], [0.5, 0.25])
