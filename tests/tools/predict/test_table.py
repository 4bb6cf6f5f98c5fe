"""The file that the table is written to, and the command."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from formwork.errors import FormworkError
from formwork.prediction.model import Model
from formwork.tools.predict.predict import predict
from formwork.tools.predict.table import ROW_GROUP
from tests.tools.predict.conftest import png, random_model, write
from tests.training.conftest import folders_of, project
from tests.workspace import ROOT

__all__ = ["project"]  # fixtures


def test_large_tables_have_row_groups(model, here):
    write("a.png", png(1))
    (here / "in").mkdir()
    for number in range(ROW_GROUP + 10):
        os.link("a.png", f"in/{number}.png")

    predict(model, ["in"], Path("out.parquet"), batch_size=512)
    file = parquet.ParquetFile("out.parquet")

    groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert groups == [ROW_GROUP, 10]


def test_a_killed_run_leaves_the_earlier_table(model, here, monkeypatch):
    for number in range(40):
        write(f"in/{number}.png", png(number))
    Path("out.csv").write_text("earlier")
    monkeypatch.setattr(Model, "answers", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        predict(model, ["in"], Path("out.csv"))

    assert Path("out.csv").read_text() == "earlier"
    assert sorted(path.name for path in here.iterdir()) == ["in", "m.pt", "out.csv"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["m.pt", "in", "--output", "t/out.CSV", "--top", "2"], 0, "t/out.CSV: predictions for 1 image.\n"),
        (["m.pt", "nope", "--output", "out.csv"], 1, "predictions for 0 images. 1 row without"),
        (["m.pt", "in", "--output", "out.txt"], 1, "ERROR: --output out.txt: the name must end in .csv or .parquet."),
        (["gone.pt", "in", "--output", "out.csv"], 1, "ERROR: gone.pt is missing."),
        (["m.pt", "in", "--output", "out.csv", "--device", "abacus"], 1, "ERROR: The device abacus cannot be used"),
        (["m.pt", "in", "--output", "out.csv", "--top", "0"], 2, "a number from 1 on"),
    ],
)
def test_the_command(here, arguments, status, said):
    random_model(here / "m.pt")
    write("in/a.png", png(1))

    done = subprocess.run(
        [sys.executable, ROOT / "src/predict.py", *arguments], capture_output=True, text=True, timeout=120, check=False
    )

    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_data_are_never_replaced_by_a_table(model, here, project):
    write("a.png", png(1))
    parquet.write_table(pa.table({"image": pa.array([png(1)], pa.binary())}), "images.parquet")
    Path("val.csv").write_bytes(folders_of(project).manifest("val").read_bytes())

    for name in ("images.parquet", "val.csv"):
        before = Path(name).read_bytes()
        with pytest.raises(FormworkError, match=f"--output {name} would replace data"):
            predict(model, ["a.png", name], Path(name))
        assert Path(name).read_bytes() == before
    for _ in range(2):  # an earlier table may be replaced
        predict(model, ["a.png"], Path("out.parquet"))


def test_an_unusable_output_is_refused_before_any_work(model, here, monkeypatch):
    (here / "out.csv").mkdir()
    monkeypatch.setattr(Model, "answers", lambda *_: 1 / 0)

    with pytest.raises(FormworkError, match=r"Cannot write out\.csv: it is a folder"):
        predict(model, ["m.pt"], Path("out.csv"))
