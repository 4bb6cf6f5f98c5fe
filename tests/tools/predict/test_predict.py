"""The table of predictions says of each image what evaluate says of it, whichever way it is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from formwork.evaluation.evaluate import evaluate
from formwork.images.manifest import read_manifest
from formwork.loading.augmentation.augmentation import Augmentation
from formwork.loading.base import LoaderConfig, SplitFiles
from formwork.loading.pytorch_loader import PyTorchDataLoader
from formwork.models.model_file import save_model
from formwork.params import Model as ModelParams
from formwork.prediction.model import load_model
from formwork.tools.predict.predict import predict
from tests.make_images import ORIENTATION, make_manifest
from tests.tars import tar_bytes, write_tar
from tests.tools.predict.conftest import CLASSES, answers, png, random_model, random_weights, table, write
from tests.training.conftest import folders, folders_of, make_params, project, run

__all__ = ["folders", "project", "run"]  # fixtures


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
