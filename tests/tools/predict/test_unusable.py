"""What is no image has a row with the reason."""

import csv
import os
from pathlib import Path

import pyarrow as pa
import torch
from pyarrow import parquet

from formwork.prediction.model import load_model
from formwork.tools.predict.predict import Result, predict, summary
from tests.tools.predict.conftest import png, random_model, table, write


def test_what_is_no_image_is_a_row_with_the_reason(model, here):
    good = png(1)
    write("in/good.png", good)
    write("in/cut.png", good[:60])
    write("in/empty.png", b"")
    write("in/text.png", b"text")
    write("in/movie.mp4", b"movie")
    write("bad.tar", b"x" * 1024)
    write("packed.tar.gz", b"\x1f\x8b" + bytes(600))
    write("t.parquet", b"PAR1")
    write("notes.txt", b"notes")
    (here / "in/gone.png").symlink_to("nowhere")
    (here / "in/loop").symlink_to("../in")
    os.mkfifo("in/pipe.png")
    (here / "none").mkdir()
    parquet.write_table(pa.table({"x": [1]}), "table.parquet")
    parquet.write_table(pa.table({"image": pa.array([None, good], pa.binary())}), "null.parquet")

    result = predict(
        model,
        ["in", "none", "bad.tar", "packed.tar.gz", "t.parquet", "table.parquet", "null.parquet", "notes.txt", "*.jpg"],
        Path("out.csv"),
        workers=2,
    )
    with open("out.csv", newline="") as file:
        rows = {row["path"]: row["error"] for row in csv.DictReader(file)}

    assert [path for path, error in rows.items() if not error] == ["in/good.png", "null.parquet/00000001"]
    for path, reason in {
        "in/cut.png": "truncated",
        "in/empty.png": "zero bytes",
        "in/text.png": "not an image",
        "in/movie.mp4": "not an image",
        "in/gone.png": "broken symlink",
        "in/loop": "in/loop is a link to a folder that it lies in",
        "in/pipe.png": "unreadable: neither a file nor a folder",
        "none": "holds no images",
        "packed.tar.gz": "compressed: make a plain tar of it, with `gunzip ./packed.tar.gz`",
        "t.parquet": "it is damaged",
        "table.parquet": "holds no images",
        "null.parquet/00000000": "unreadable: its row holds no image",
        "notes.txt": "not an image: none of JPEG",
        "*.jpg": "no file matches",
    }.items():
        assert reason in rows[path], (path, rows[path])
    assert rows["bad.tar"]
    assert result == Result(2, len(rows) - 2, result.first)
    said = summary(result, Path("out.csv"))
    assert said.startswith(f"out.csv: predictions for 2 images. {len(rows) - 2} rows without: its column `error`")
    assert said.endswith(f"... and {len(rows) - 5} more")


def test_names_of_any_bytes_are_told_apart(model, here):
    names = [b"in/a\nb.png", b"in/\xff.png", b"in/\\xff.png", b"in/\xc3\xbf.png", b'in/",;.png', b"in/\x1b[31m.png"]
    for name in names:
        write(os.path.join(os.fsencode(here), name), png(1))
    write("=1+1.png", png(1))

    rows = table(model, "in", "=1+1.png")
    predict(model, ["in"], Path("out.parquet"))

    paths = [row["path"] for row in rows]
    assert not any(row["error"] for row in rows)
    assert paths.pop() == "./=1+1.png"
    back = [path.encode("latin-1", "backslashreplace").decode("unicode_escape") for path in paths]
    assert sorted(map(os.fsencode, back)) == sorted(names)
    assert not any(set(path) & {"\n", "\x1b"} for path in paths)
    assert parquet.read_table("out.parquet")["path"].to_pylist() == paths


def test_a_model_without_finite_answers_says_so(here):
    model = load_model(random_model(here / "m.pt"))
    with torch.no_grad():
        for weights in model.model.parameters():
            weights.fill_(float("nan"))
    write("a.png", png(1))

    (row,) = table(model, "a.png")

    assert (row["class"], row["error"]) == ("", "the model gives no finite answer")
