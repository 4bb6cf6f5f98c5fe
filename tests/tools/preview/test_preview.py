"""The preview shows what training gives the model, from each loader, or says why there is nothing to show."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from formwork.conversion.write import write_beton
from formwork.drawing.image_grid import COLUMNS, Row, to_pixels
from formwork.errors import FormworkError
from formwork.folders import Folders
from formwork.images.manifest import read_manifest
from formwork.loading.project import ProjectData
from formwork.params import BetonParams
from formwork.tools.preview import preview as module
from formwork.tools.preview.preview import Drawn, preview
from formwork.yaml import dump_yaml
from tests.processes import TIMEOUT
from tests.training.conftest import PARAMS, folders_of, make_params, project
from tests.workspace import ROOT

pytestmark = pytest.mark.slow

__all__ = ["project"]  # a fixture


@pytest.fixture
def draw(project, tmp_path, monkeypatch):
    """draw(params): the rows of preview.png and of classes.png."""
    drawn: dict[str, list[Row]] = {}
    real = module.image_rows

    def image_rows(path: Path, title: str, rows: list[Row]) -> None:
        real(path, title, rows)
        drawn[path.name] = rows

    monkeypatch.setattr(module, "image_rows", image_rows)

    def go(params, folders=None, classes=()) -> dict[str, list[Row]]:
        drawn.clear()
        print(*preview(params, folders or folders_of(project), tmp_path / "preview.png", classes), sep="\n")
        return drawn

    return go


@pytest.fixture
def lossy(project, tmp_path) -> Folders:
    """The project's data, with betons of bad JPEGs."""
    folders = folders_of(project)
    other = Folders(folders.raw, folders.interim, tmp_path / "lossy")
    for split in ("train", "val"):
        manifest = read_manifest(folders.interim / f"{split}.csv")
        params = BetonParams(write_mode="jpg", jpeg_quality=40)
        write_beton(manifest, folders.raw, other.processed / f"{split}.beton", params, workers=1)
    return other


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({}, "12 x 12 pixels, float32"),
        ({"data": {"dtype": "uint8", "batch_size": 4}}, "12 x 12 pixels, uint8"),
        ({"data": {"dtype": "float16"}, "ffcv": {"order": "random"}}, "12 x 12 pixels, float16"),
        ({"model": {"name": "rcnn", "timesteps": 3}}, "12 x 12 pixels, float32, each image 3 times"),
        ({"ffcv": {"resolution_schedule": [[1, 9]]}}, "9 x 9 pixels, float32"),
    ],
)
def test_the_first_images_of_training_from_both_loaders(project, draw, sections, said):
    params = make_params(**sections)
    rows = draw(params)["preview.png"]
    assert [row.heading.partition(",")[0] for row in rows] == [
        f"{split}: {what}"
        for split in ("train", "val")
        for what in ("FFCVDataLoader", "PyTorchDataLoader", "difference of the two: none")
    ]
    ffcv, pytorch = rows[:2]
    assert ffcv.heading.endswith(f"train.beton: {said}")
    assert pytorch.heading.endswith(f"raw/colours: {said}")

    data = ProjectData(params, folders_of(project))
    images, labels = [], []
    for batch, of_batch in data.loader("train"):
        images += list(to_pixels(batch if batch.dim() == 4 else batch[:, 2], data.settings))
        labels += (of_batch if of_batch.dim() == 1 else of_batch[:, 2]).tolist()
    assert np.array_equal(ffcv.images, images[:COLUMNS])
    assert np.array_equal(pytorch.images, images[:COLUMNS])
    assert ffcv.captions == pytorch.captions == [data.settings.class_names[label] for label in labels[:COLUMNS]]
    assert len(set(rows[3].captions)) > 1  # validation images of several classes


def test_mixed_images_have_the_labels_of_both(draw):
    """With timesteps, too, whose labels have as many axes."""
    augment = {"train": [{"Resize": {}}, {"Mixup": {"alpha": 1.0}}]}
    for sections in ({}, {"model": {"name": "rcnn", "timesteps": 2}}):
        ffcv, pytorch, difference, *_ = draw(make_params(augment=augment, seed=1, **sections))["preview.png"]
        assert len(ffcv.images) == COLUMNS
        assert ffcv.captions == pytorch.captions
        assert difference.heading.endswith("none, they are equal bit for bit")
        shares = [re.findall(r"^(\w+) (\d+)%$", caption, re.MULTILINE) for caption in ffcv.captions]
        assert {len(of_one) for of_one in shares} == {1, 2}
        for of_one in shares:
            assert sum(int(share) for _, share in of_one) == pytest.approx(100, abs=1)
            assert {name for name, _ in of_one} <= {"blue", "green", "red"}
            assert int(of_one[0][1]) == max(int(share) for _, share in of_one)


def test_the_difference_is_the_largest_and_the_picture_of_it(draw, lossy):
    rows = draw(make_params(), lossy)["preview.png"]
    for ffcv, pytorch, difference in (rows[:3], rows[3:]):
        real = np.abs(np.asarray(ffcv.images, int) - np.asarray(pytorch.images, int))
        factor, white, largest = re.search(
            r"difference of the two, (\d+) times as bright(?:, white from (\d+) on)?: at most (\d+) of 255",
            difference.heading,
        ).groups()
        assert int(largest) == real.max() > 4
        assert [int(caption.removeprefix("at most ")) for caption in difference.captions] == [
            image.max() for image in real
        ]
        assert np.array_equal(difference.images, np.minimum(real * int(factor), 255))
        assert np.mean(np.asarray(difference.images) == 255) < 0.02
        if white:
            assert int(factor) * (int(white) - 1) < 255 <= int(factor) * int(white)


def test_rows_of_other_samples_are_not_compared(project):
    data = ProjectData(make_params(), folders_of(project))
    one, other = (Drawn(torch.zeros(2, 3, 4, 4), torch.tensor([0, 1]), {"storage_order": order}) for order in (1, 2))
    row = module._difference(data, "train", one, other)
    assert row.heading.startswith("train: difference of the two: these are other samples")
    assert not row.images


def test_a_missing_beton_is_said_and_no_loader_stands_in(project, draw, tmp_path, capsys):
    folders = folders_of(project)
    rows = draw(make_params(), Folders(folders.raw, folders.interim, tmp_path / "none"))
    output = capsys.readouterr().out
    train, val = rows["preview.png"][:2], rows["preview.png"][2:]
    for split, (missing, shown) in {"train": train, "val": val}.items():
        assert missing.heading.startswith(
            f"{split}: no images from FFCVDataLoader. {tmp_path / 'none'}/{split}.beton is"
        )
        assert missing.heading.endswith("`dvc repro convert` to write it.")  # and not how to fall back
        assert missing.images == ()
        assert f"WARNING: {missing.heading}\n" in output
        assert shown.heading.startswith(f"{split}: PyTorchDataLoader")
        assert len(shown.images) == COLUMNS
    assert len(rows["classes.png"][0].images) == COLUMNS  # from the originals then


def test_missing_originals_are_said(project, draw, tmp_path):
    folders = folders_of(project)
    rows = draw(make_params(), Folders(tmp_path / "none", folders.interim, folders.processed))
    train = rows["preview.png"][:2]
    assert train[0].heading.startswith("train: FFCVDataLoader")
    assert train[1].heading.startswith(
        f"train: no images from PyTorchDataLoader. The original images {tmp_path / 'none'}"
    )
    assert "dvc pull" in train[1].heading
    assert len(rows["classes.png"][0].images) == COLUMNS  # from the beton


def test_an_operation_that_cannot_be_compiled_is_said(draw, uncompiled):
    rows = draw(make_params(augment={"train": [uncompiled]}))["preview.png"]
    assert "augment.train: Uncompiled: " in rows[0].heading
    assert rows[1].heading.startswith("train: PyTorchDataLoader")
    assert rows[2].heading.startswith("val: FFCVDataLoader")


def test_an_original_that_cannot_be_read_is_said(project, draw, tmp_path):
    """The error of a loader that breaks while it loads; what the operating system said stands within it."""
    folders = folders_of(project)
    raw = tmp_path / "raw"
    for row in (row for split in ("train", "val") for row in read_manifest(folders.interim / f"{split}.csv").rows):
        (raw / row.path).parent.mkdir(parents=True, exist_ok=True)
        (raw / row.path).write_bytes(b"no image")
    interim = tmp_path / "interim"  # with a tree of its own
    interim.mkdir()
    for name in ("train.csv", "val.csv", "dataset.json"):
        (interim / name).write_bytes((folders.interim / name).read_bytes())
    rows = draw(make_params(), Folders(raw, interim, folders.processed))["preview.png"]
    assert re.match(r"train: no images from PyTorchDataLoader\. Sample \d+, .*\.png: cannot identify", rows[1].heading)


def test_without_any_images_there_is_an_error_and_the_old_picture_stays(project, draw, tmp_path):
    (tmp_path / "preview.png").write_text("old")
    folders = folders_of(project)
    with pytest.raises(FormworkError) as refused:
        draw(make_params(), Folders(tmp_path / "a", folders.interim, tmp_path / "b"))
    for split in ("train", "val"):
        for loader in ("FFCVDataLoader", "PyTorchDataLoader"):
            assert f"{split}: no images from {loader}." in str(refused.value)
    assert (tmp_path / "preview.png").read_text() == "old"


def test_training_images_by_class(project, draw):
    data = ProjectData(make_params(), folders_of(project))
    sheet = draw(make_params())["classes.png"]
    headings = [row.heading for row in sheet if row.heading]
    counts = {split: np.bincount(data.splits[split].manifest.labels).tolist() for split in ("train", "val")}
    assert headings == [
        f"{name}: {counts['train'][label]} in train, {counts['val'][label]} in val"
        for label, name in enumerate(data.settings.class_names)
    ]
    name = headings[1].partition(":")[0]
    start = [row.heading for row in sheet].index(headings[1])
    for image, caption in zip(sheet[start].images, sheet[start].captions, strict=True):
        assert np.array_equal(image, np.asarray(Image.open(data.splits["train"].raw / name / caption)))


def test_chosen_classes(draw):
    sheet = draw(make_params(), classes=["red"])["classes.png"]
    assert sheet[0].heading.startswith("red: ")
    assert {row.heading for row in sheet[1:]} == {""}
    captions = [caption for row in sheet for caption in row.captions]
    assert len(captions) == len(set(captions)) > COLUMNS
    with pytest.raises(FormworkError, match=r"There is no class 'rad'\. Did you mean 'red'"):
        draw(make_params(), classes=["blue", "rad"])


def test_the_command(project, tmp_path):
    """In a repository whose data/raw is there under its usual name."""
    (tmp_path / "data").symlink_to(project / "data")
    (tmp_path / "params.yaml").write_text(dump_yaml(PARAMS))
    command = [sys.executable, ROOT / "src/preview.py", "results/preview.png", "--classes", "green", "blue"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    pictures = [tmp_path / "results" / name for name in ("preview.png", "preview/classes.png", "preview/counts.png")]
    for path in pictures:
        assert f": {path.relative_to(tmp_path)}\n" in done.stdout
        Image.open(path).verify()
    assert pictures[0].read_bytes() != pictures[1].read_bytes()


def test_the_same_data_gives_the_same_pictures(project, tmp_path):
    for name in ("one", "two"):
        preview(make_params(), folders_of(project), tmp_path / name / "preview.png")
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.png"))
    assert len(names) == 3
    for one, other in pairwise((tmp_path / "one", tmp_path / "two")):
        for name in names:
            assert (one / name).read_bytes() == (other / name).read_bytes()
