"""The table of predictions says of each image what evaluate says of it, and of what is no image, why."""

import csv
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from formwork.errors import FormworkError
from formwork.evaluation.evaluate import evaluate
from formwork.images.manifest import read_manifest
from formwork.interim.settings import Settings
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.models.build import build_model
from formwork.models.model_file import save_model
from formwork.params import Model as ModelParams
from formwork.prediction.model import Model, load_model
from formwork.tools.predict.predict import Result, predict, summary
from formwork.tools.predict.table import ROW_GROUP
from tests.make_images import ORIENTATION, make_manifest
from tests.tars import tar_bytes, write_tar
from tests.training.conftest import folders, folders_of, make_params, project, run
from tests.workspace import ROOT

__all__ = ["folders", "project", "run"]  # fixtures

CLASSES = Settings(
    name="noise",
    class_names=["a", "b", "c", "d"],
    resolution=8,
    mean=[0.5] * 3,
    std=[0.2] * 3,
    augment_train=[],
    augment_val=[{"Resize": {}}],
)
OF_TASK = {
    "classes": CLASSES,
    "multilabel": CLASSES.model_copy(update={"task": "multilabel"}),
    "regression": CLASSES.model_copy(
        update={
            "task": "regression",
            "class_names": [],
            "target_names": ["age", "error"],
            "target_mean": [40.0, 1.0],
            "target_std": [9.0, 0.1],
        }
    ),
}


def random_weights(settings: Settings) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return build_model(ModelParams(), settings.outputs, settings.resolution).state_dict()


def random_model(path: Path, task: str = "classes") -> Path:
    save_model(path, ModelParams(), OF_TASK[task], random_weights(OF_TASK[task]), epoch=1, val={})
    return path


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(here: Path) -> Model:
    return load_model(random_model(here / "m.pt"))


def png(number: int, side: int = 9) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side + 2, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(path: str | bytes, content: bytes) -> None:
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)


def table(model: Model, *arguments: str, name: str = "out.csv", **options: int) -> list[dict[str, str]]:
    predict(model, arguments, Path(name), **options)
    with open(name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def answers(rows: list[dict[str, str]]) -> dict[str, tuple[str, str]]:
    return {row["path"]: (row["class"], row["probability"]) for row in rows}


# --- The same as evaluate ------------------------------------------------------------------------


def test_predictions_are_those_of_evaluate_bit_for_bit(run, folders, project, here):
    params = make_params(data={"use_ffcv": False}, trainer={"max_epochs": 1}, train={"lr": 1e-4})
    trained = run("out", trainer={"max_epochs": 1}, train={"lr": 1e-4}) / "best.pt"
    evaluate(params, folders, trained, here / "results")
    theirs = parquet.read_table(here / "results/predictions.parquet").to_pydict()
    model = load_model(trained)
    size = params.data.batch_size

    predict(model, [str(folders.manifest("val"))], Path("val.parquet"), top=3, batch_size=size, workers=2)
    mine = parquet.read_table("val.parquet").to_pydict()

    assert mine["path"] == [f"{folders.raw}/{path}" for path in theirs["path"]]
    assert mine["class"] == theirs["predicted"]
    assert mine["error"] == [None] * len(mine["path"])
    for rank, end in enumerate(["", "_2", "_3"]):
        expected = [sorted(each, reverse=True)[rank] for each in theirs["probabilities"]]
        assert mine[f"probability{end}"] == expected
    names = model.class_names
    second = [names[np.argsort(each)[-2]] for each in theirs["probabilities"]]
    assert mine["class_2"] == second

    rows = answers(table(model, str(folders.raw), str(folders.interim / "val"), batch_size=size))
    assert len(rows) == 90 + len(mine["path"])  # the tree has links to the same files by other names
    read = np.array([rows[path][1] for path in mine["path"]], np.float32)
    assert np.allclose(read, np.array(mine["probability"]), atol=1e-6)


@pytest.mark.parametrize("name", ["one.csv", "one.parquet"])
def test_neither_processes_nor_batches_change_the_table(model, here, name):
    for number in range(50):
        write(f"in/{number:02d}.png", png(number))
    expected: bytes | None = None
    for workers, options in ((0, {}), (3, {}), (1, {"batch_size": 64})):
        predict(model, ["in"], Path(name), top=4, workers=workers, **options)
        assert expected in (None, Path(name).read_bytes())
        expected = Path(name).read_bytes()
    first = answers(table(model, "in"))
    for size in (1, 7, 50):
        rows = answers(table(model, "in", batch_size=size))
        assert [row[0] for row in rows.values()] == [row[0] for row in first.values()]
        values = np.array([[float(p) for _, p in found.values()] for found in (rows, first)])
        assert np.allclose(values[0], values[1], atol=1e-6)


def test_the_library_and_the_table_say_the_same(model, here):
    write("a.png", png(1))

    (row,) = table(model, "a.png", top=9)
    (prediction,) = model.predict("a.png")

    top = [(row[f"class{end}"], np.float32(row[f"probability{end}"])) for end in ("", "_2", "_3", "_4")]
    assert top == [(name, np.float32(value)) for name, value in prediction.top(9)]
    assert "class_5" not in row


def test_labels_have_a_probability_each(here):
    write("a.png", png(1))
    model = load_model(random_model(here / "m.pt", "multilabel"))
    (expected,) = model.predict("a.png")

    (row,) = table(model, "a.png", "nope")[:1]
    predict(model, ["a.png", "nope"], Path("out.parquet"))
    found = parquet.read_table("out.parquet").to_pylist()

    assert list(row) == ["path", "labels", *(f"probability.{name}" for name in "abcd"), "error"]
    assert row["labels"] == ";".join(expected.labels)
    assert [np.float32(row[f"probability.{name}"]) for name in "abcd"] == list(expected.probabilities)
    assert tuple(found[0]["labels"]) == expected.labels
    assert found[1]["labels"] is None


def test_numbers_have_the_names_of_the_targets(here):
    write("a.png", png(1))
    model = load_model(random_model(here / "m.pt", "regression"))
    (expected,) = model.predict("a.png")

    good, bad = table(model, "a.png", "nope")

    assert list(good) == ["path", "age", "target.error", "error"]
    assert np.float32(good["age"]) == np.float32(expected.targets["age"])
    assert np.float32(good["target.error"]) == np.float32(expected.targets["error"])
    assert (bad["age"], bad["error"]) == ("", "no such file or folder")


# --- What the arguments name ---------------------------------------------------------------------


def test_arguments_of_every_kind_name_the_same_images(model, here):
    names = ["cat/1.png", "cat/2.png", "dog/3.png"]
    files = {name: png(number) for number, name in enumerate(names)}
    for name, content in files.items():
        write(f"in/{name}", content)
    write_tar(here / "t/all.tar", files)
    write_tar(here / "outer.tar", {"inner.tar": tar_bytes(files)})
    parquet.write_table(
        pa.table({"image": [{"bytes": content, "path": None} for content in files.values()]}), "i.parquet"
    )
    expected = [value for _, value in sorted(answers(table(model, "in")).items())]

    for arguments, prefix in (
        ([f"in/{name}" for name in names], "in/"),
        (["in/"], "in/"),
        (["./in/cat", "in//dog"], "in/"),
        ([str(here / "in")], f"{here}/in/"),
        (["in/*"], "in/"),
        (["in/**/*.png"], "in/"),
        (["t"], "t/all.tar/"),
        (["t/all.tar"], "t/all.tar/"),
        ([f"t/all.tar/{name}" for name in names], "t/all.tar/"),
        (["outer.tar"], "outer.tar/inner.tar/"),
    ):
        rows = table(model, *arguments)
        assert [row["path"] for row in rows] == [f"{prefix}{name}" for name in names], arguments
        assert not any(row["error"] for row in rows)
        assert np.allclose(
            [float(row["probability"]) for row in rows], [float(value) for _, value in expected], atol=1e-6
        )
    rows = table(model, "i.parquet")
    assert [row["path"] for row in rows] == [f"i.parquet/{number:08d}" for number in range(3)]
    assert [row["class"] for row in rows] == [name for name, _ in expected]


def test_a_folder_gives_what_the_pipeline_takes_for_images(model, here):
    for name in ("a.png", "B.JPG", "no_extension", "deep/er/c.png"):
        write(f"in/{name}", png(1))
    for name in (".hidden.png", ".git/d.png", "Thumbs.db", "notes.txt", "labels.csv", "x.tmp", "table.parquet"):
        write(f"in/{name}", b"text")
    parquet.write_table(pa.table({"x": [1]}), "in/table.parquet")
    (here / "in/again").symlink_to("deep")

    rows = table(model, "in")

    assert [row["path"] for row in rows] == [
        f"in/{name}" for name in ("B.JPG", "a.png", "again/er/c.png", "deep/er/c.png", "no_extension")
    ]
    assert not any(row["error"] for row in rows)
    (hidden,) = table(model, "in/.hidden.png")
    assert hidden["error"].startswith("not an image")


def test_an_image_that_several_arguments_name_has_one_row(model, here):
    for number in range(4):
        write(f"in/{number}.png", png(number))
    (here / "link").symlink_to("in")

    rows = table(model, "in/2.png", "in", "./in/2.png", "in/*.png", str(here / "in/3.png"), "link")

    assert [row["path"] for row in rows] == ["in/2.png", "in/0.png", "in/1.png", "in/3.png"]


def test_the_images_of_a_manifest_are_those_of_its_raw_folder(model, here, project):
    manifest = folders_of(project).manifest("val")
    copy = here / "copy/interim/colours/val.csv"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(manifest.read_bytes())

    rows = table(model, str(manifest))
    (missing,) = table(model, "copy/interim/colours/val.csv")

    assert len(rows) == len(read_manifest(manifest))
    assert missing["error"].startswith("its images are missing: copy/raw/colours is no folder. `dvc pull copy/raw/")


# --- What is no image ----------------------------------------------------------------------------


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


# --- The file ------------------------------------------------------------------------------------


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


def test_odd_images_are_what_the_pipeline_makes_of_them(here):
    """Transparency, 16 bits, palettes, CMYK, orientation: through the loader of the stages, and through the table."""
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (12, 10, 4), np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    raw = here / "raw"
    (raw / "a").mkdir(parents=True)
    (raw / "b").mkdir()
    Image.fromarray(rgba).save(raw / "a/alpha.png")
    Image.fromarray(rng.integers(0, 65536, (12, 10), np.uint16)).save(raw / "a/deep.png")
    Image.fromarray(rgba[..., :3]).quantize(8).save(raw / "a/palette.gif", transparency=3)
    Image.fromarray(rgba).convert("CMYK").save(raw / "a/cmyk.jpg")
    Image.fromarray(rgba[..., :3]).save(raw / "a/turned.jpg", exif=exif)
    Image.fromarray(rgba[..., 0]).convert("1").save(raw / "b/bits.png")
    manifest = make_manifest(raw, here / "interim/val.csv")
    settings = CLASSES.model_copy(update={"augment_val": [{"CenterCrop": {"ratio": 0.8}}]})
    save_model(here / "m.pt", ModelParams(), settings, random_weights(settings), epoch=1, val={})
    model = load_model("m.pt")
    config = LoaderConfig(
        Augmentation(settings.augment_val, 8, 0), settings.mean, settings.std, batch_size=64, class_names=["a", "b"]
    )
    ((images, _),) = PyTorchDataLoader(SplitFiles("val", manifest, here / "none", raw), config)

    rows = table(model, "raw")

    assert [row["path"] for row in rows] == [f"raw/{path}" for path in manifest.paths]
    assert torch.equal(model.preprocess([row["path"] for row in rows]), images)
    expected = model.answers(images).max(axis=1)
    assert [np.float32(row["probability"]) for row in rows] == expected.tolist()


def test_an_unusable_output_is_refused_before_any_work(model, here, monkeypatch):
    (here / "out.csv").mkdir()
    monkeypatch.setattr(Model, "answers", lambda *_: 1 / 0)

    with pytest.raises(FormworkError, match=r"Cannot write out\.csv: it is a folder"):
        predict(model, ["m.pt"], Path("out.csv"))
