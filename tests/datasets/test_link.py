"""The link stage: raw images to manifests, tree and settings, or one clear message."""

import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import formwork
from formwork.datasets.inspect_file import inspect_files
from formwork.datasets.link import MEMORY, link
from formwork.errors import DatasetError
from formwork.images.manifest import in_validation, read_manifest
from formwork.interim.settings import Settings, read_settings
from formwork.params import Params
from tests.make_images import make_dataset

NAME = "mine"
OUTS = ("train.csv", "val.csv", "dataset.json")


def run_link(data: Path, dataset: dict | None = None, **params: object) -> Settings:
    """Run on <data>/raw/mine as the stage does; params are those of the section data."""
    sections = {"data": {"name": NAME, **params}, "datasets": {} if dataset is None else {NAME: dataset}}
    raw, interim = data / "raw" / NAME, data / "interim" / NAME
    link(Params.model_validate(sections), raw, interim, data / "report.csv")
    return read_settings(interim / "dataset.json")


def rows(data: Path, split: str) -> dict[str, tuple[str, int]]:
    """Class name and label by path."""
    manifest = read_manifest(data / "interim" / NAME / f"{split}.csv")
    return {row.path: (row.class_name, row.label) for row in manifest.rows}


def outs(data: Path) -> list[bytes]:
    return [(data / "interim" / NAME / name).read_bytes() for name in OUTS]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three classes of 12 images, of two sizes."""
    return make_dataset(tmp_path / "raw" / NAME, ["cat", "a dog", "Äffin"], per_class=12, size=[(12, 10), (8, 20)])


# --- What it writes -----------------------------------------------------------------------------


def test_every_image_is_in_one_split_with_the_label_of_its_class(raw: Path, tmp_path: Path) -> None:
    settings = run_link(tmp_path)
    train, val = rows(tmp_path, "train"), rows(tmp_path, "val")

    assert settings.class_names == ["a dog", "cat", "Äffin"]
    assert train.keys().isdisjoint(val)
    assert sorted(train | val) == sorted(str(p.relative_to(raw)) for p in raw.rglob("*.png"))
    for path, (class_name, label) in (train | val).items():
        assert class_name == path.split("/")[0] == settings.class_names[label]
    assert (tmp_path / "report.csv").read_text() == "path,split,class_name,kind,reason,duplicate_of,action\n"


@pytest.mark.parametrize("folder", ["val", "test"])
def test_splits_of_its_own(tmp_path: Path, folder: str) -> None:
    make_dataset(tmp_path / "raw" / NAME / "train", per_class=2)
    make_dataset(tmp_path / "raw" / NAME / folder, per_class=1, seed=1)

    run_link(tmp_path)

    assert rows(tmp_path, "train") == {
        f"train/{name}/00{i}.png": (name, label) for label, name in enumerate(("cat", "dog")) for i in (0, 1)
    }
    assert rows(tmp_path, "val") == {
        f"{folder}/{name}/000.png": (name, label) for label, name in enumerate(("cat", "dog"))
    }
    with Image.open(tmp_path / "interim" / NAME / "val/cat/000.png") as image:
        assert image.size == (12, 10)


def test_the_same_images_give_the_same_bytes_whatever_the_folder_order_and_workers(raw: Path, tmp_path: Path) -> None:
    other = tmp_path / "other place"
    for path in sorted(raw.rglob("*.png"), reverse=True):
        copy = other / "raw" / NAME / path.relative_to(raw)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())

    run_link(tmp_path, num_workers=1)
    first = outs(tmp_path)
    run_link(tmp_path, num_workers=4)
    run_link(other, num_workers=2)

    assert outs(tmp_path) == first
    assert outs(other) == first


def test_images_keep_their_split_when_others_come_and_go(raw: Path, tmp_path: Path) -> None:
    run_link(tmp_path)
    before = {path: split for split in ("train", "val") for path in rows(tmp_path, split)}
    gone = {"cat/003.png", "a dog/007.png"}
    for path in gone:
        (raw / path).unlink()
    make_dataset(raw, ["bee"], seed=1)

    run_link(tmp_path)

    after = {path: split for split in ("train", "val") for path in rows(tmp_path, split)}
    assert after.keys() ^ before.keys() == gone | {f"bee/00{i}.png" for i in range(8)}
    assert all(after[path] == split for path, split in before.items() if path not in gone)


def test_nothing_is_written_to_the_raw_images(raw: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [raw, *raw.rglob("*")]}

    run_link(tmp_path)

    assert {path: path.stat().st_mtime_ns for path in [raw, *raw.rglob("*")]} == before


# --- Settings -----------------------------------------------------------------------------------


def test_auto_is_worked_out_on_the_training_images(raw: Path, tmp_path: Path) -> None:
    settings = run_link(tmp_path)

    images = []
    for path in rows(tmp_path, "train"):
        with Image.open(raw / path) as image:
            images.append(np.asarray(image) / 255)
    pixels = np.concatenate([image.reshape(-1, 3) for image in images])
    assert settings.mean == pytest.approx(pixels.mean(axis=0), abs=6e-5)
    assert settings.std == pytest.approx(pixels.std(axis=0), abs=6e-5)
    assert settings.resolution == int(np.median([min(image.shape[:2]) for image in images]))


@pytest.mark.parametrize(
    ("size", "resolution", "train"),
    [
        ((7, 5), 5, ["CenterCrop", "RandomCrop", "RandomHorizontalFlip"]),
        ((63, 80), 63, ["CenterCrop", "RandomCrop", "RandomHorizontalFlip"]),
        ((90, 64), 64, ["RandomResizedCrop", "RandomHorizontalFlip"]),
        ((300, 230), 224, ["RandomResizedCrop", "RandomHorizontalFlip"]),
    ],
)
def test_a_dataset_without_entry_has_sensible_defaults(
    tmp_path: Path, size: tuple[int, int], resolution: int, train: list[str]
) -> None:
    make_dataset(tmp_path / "raw" / NAME, per_class=6, size=size)

    settings = run_link(tmp_path)

    assert settings.resolution == resolution
    assert [name for operation in settings.augment_train for name in operation] == train
    assert settings.augment_val == [{"CenterCrop": {}}]


def test_an_entry_is_taken_as_it_stands(raw: Path, tmp_path: Path) -> None:
    entry = {
        "resolution": 9,
        "mean": [0.1, 0.2, 0.3],
        "std": [1, 2, 3],
        "augment": {"train": [{"Resize": {}}], "val": []},
    }

    settings = run_link(tmp_path, entry)

    assert settings == Settings(
        name=NAME,
        class_names=["a dog", "cat", "Äffin"],
        resolution=9,
        mean=[0.1, 0.2, 0.3],
        std=[1, 2, 3],
        augment_train=[{"Resize": {}}],
        augment_val=[],
    )


def test_images_of_one_colour_can_be_normalised(tmp_path: Path) -> None:
    for path in make_dataset(tmp_path / "raw" / NAME).rglob("*.png"):
        Image.new("RGB", (4, 4), (0, 51, 255)).save(path)

    settings = run_link(tmp_path)

    assert settings.mean == [0, 0.2, 1]
    assert settings.std == [pytest.approx(1 / 255, abs=6e-5)] * 3


# --- Bad images ---------------------------------------------------------------------------------


def spoil(raw: Path) -> dict[str, str]:
    """Three kinds of bad file, and the kind of each."""
    (raw / "cat/000.png").write_bytes(b"")
    (raw / "a dog/003.png").write_text("no image")
    (raw / "Äffin/005.png").unlink()
    (raw / "Äffin/005.png").symlink_to("nowhere")
    return {"a dog/003.png": "not an image", "cat/000.png": "zero bytes", "Äffin/005.png": "broken symlink"}


def report(data: Path) -> dict[str, str]:
    with (data / "report.csv").open(newline="", encoding="utf-8") as file:
        return {line["path"]: line["kind"] for line in csv.DictReader(file)}


def test_bad_images_stop_the_stage_with_a_list_of_all(raw: Path, tmp_path: Path) -> None:
    reasons = spoil(raw)

    with pytest.raises(DatasetError) as error:
        run_link(tmp_path)

    assert report(tmp_path) == reasons
    for path, kind in reasons.items():
        assert re.search(f"{kind} +1  stopped\n    {path}: ", str(error.value))
    assert f"3 of 36 files in {raw} cannot be used as images" in str(error.value)
    assert "-S data.on_bad_image=skip" in str(error.value)
    assert not any((tmp_path / "interim" / NAME / name).exists() for name in OUTS)


def test_bad_images_are_skipped_on_demand(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_link(tmp_path)
    before = rows(tmp_path, "train") | rows(tmp_path, "val")
    reasons = spoil(raw)

    run_link(tmp_path, on_bad_image="skip")

    assert report(tmp_path) == reasons
    assert "3 files are left out" in capsys.readouterr().out
    assert before.items() - (rows(tmp_path, "train") | rows(tmp_path, "val")).items() == {
        (path, before[path]) for path in reasons
    }


def test_of_many_bad_images_some_are_shown_and_all_are_reported(tmp_path: Path) -> None:
    raw = make_dataset(tmp_path / "raw" / NAME, per_class=30, size=(1, 1))
    for path in (raw / "cat").iterdir():
        path.write_bytes(b"")

    with pytest.raises(DatasetError, match=r"\.\.\. and 25 more\n(.*\n)*30 of 60 files"):
        run_link(tmp_path)

    assert len(report(tmp_path)) == 30


def test_bad_names_can_be_printed(raw: Path, tmp_path: Path) -> None:
    """From the command line, where output has an encoding."""
    (raw / os.fsdecode(b"cat/caf\xe9.png")).touch()
    (tmp_path / "params.yaml").write_text(f"data: {{name: {NAME}, on_bad_image: skip}}")
    script = Path(formwork.__file__).parents[1] / "link.py"

    done = subprocess.run(
        [sys.executable, script, f"raw/{NAME}", f"interim/{NAME}", "report.csv"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert rb"cat/caf\udce9.png: the file is empty" in done.stdout
    assert b"cat/caf\xe9.png," in (tmp_path / "report.csv").read_bytes()


# --- Datasets that cannot be used ---------------------------------------------------------------


def only(raw: Path, class_name: str, *, val: bool) -> None:
    """Leave a class just those images that fall into one split."""
    for path in (raw / class_name).iterdir():
        if in_validation(str(path.relative_to(raw)), 0.5) != val:
            path.unlink()


def empty(raw: Path, class_name: str) -> None:
    for path in (raw / class_name).iterdir():
        path.write_bytes(b"")


UNUSABLE: dict[str, tuple[Callable[[Path], object], dict[str, object], str]] = {
    "no validation images": (lambda raw: None, {"val_fraction": 1e-9}, "No images in the val split of {raw}"),
    "no training images": (lambda raw: None, {"val_fraction": 1 - 1e-9}, "No images in the train split of {raw}"),
    "a class only for validation": (
        lambda raw: only(raw, "cat", val=True),
        {"val_fraction": 0.5},
        "No training images of class cat in {raw}",
    ),
    "a class of bad images": (
        lambda raw: empty(raw, "a dog"),
        {"on_bad_image": "skip"},
        "No training images of class a dog in {raw}",
    ),
    "missing": (lambda raw: raw.rename(raw.parent / "moved"), {}, "{raw} is missing"),
}


@pytest.mark.parametrize(("change", "params", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_dataset_is_explained(
    raw: Path, tmp_path: Path, change: Callable[[Path], object], params: dict[str, object], message: str
) -> None:
    change(raw)

    with pytest.raises(DatasetError, match=re.escape(message.format(raw=raw))):
        run_link(tmp_path, **params)

    assert not any((tmp_path / "interim" / NAME / name).exists() for name in OUTS)


def test_a_class_without_validation_images_is_a_warning(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only(raw, "cat", val=False)

    run_link(tmp_path, val_fraction=0.5)

    assert "WARNING: no validation images of class cat." in capsys.readouterr().out


# --- Duplicates ---------------------------------------------------------------------------------


def copies(data: Path) -> Path:
    """Three equal images of cats in train and one in val, and a label conflict; with a wrong extension."""
    raw = data / "raw" / NAME
    make_dataset(raw / "train", per_class=5)
    make_dataset(raw / "val", per_class=4, seed=1)
    for name in ("train/cat/001.png", "train/cat/002.png", "val/cat/001.png"):
        (raw / name).write_bytes((raw / "train/cat/000.png").read_bytes())
    (raw / "train/dog/004.png").write_bytes((raw / "train/cat/004.png").read_bytes())
    (raw / "val/dog/000.png").rename(raw / "val/dog/000.JPG")
    return raw


FOUND = {
    "train/cat/000.png": "leakage",
    "train/cat/001.png": "leakage",
    "train/cat/002.png": "leakage",
    "train/cat/004.png": "label conflict",
    "train/dog/004.png": "label conflict",
    "val/dog/000.JPG": "wrong extension",
}


def test_duplicates_are_reported_and_kept(tmp_path: Path) -> None:
    copies(tmp_path)

    run_link(tmp_path)

    assert report(tmp_path) == FOUND
    assert len(rows(tmp_path, "train")) == 10


def test_duplicates_are_left_out_on_demand(tmp_path: Path) -> None:
    copies(tmp_path)

    run_link(tmp_path, on_duplicate="skip")

    assert report(tmp_path) == FOUND
    assert rows(tmp_path, "train").keys() == {"train/cat/003.png"} | {f"train/dog/00{i}.png" for i in range(4)}
    assert "val/cat/001.png" in rows(tmp_path, "val")


def test_duplicates_stop_the_stage_on_demand(tmp_path: Path) -> None:
    copies(tmp_path)

    with pytest.raises(DatasetError, match=r"5 of 18 files in .* have the bytes of another"):
        run_link(tmp_path, on_duplicate="error")

    assert report(tmp_path) == FOUND


# --- Memory -------------------------------------------------------------------------------------


def age(raw: Path) -> None:
    """As if the images had been there for long."""
    for path in raw.rglob("*.png"):
        os.utime(path, ns=(10**18, 10**18))


def test_what_was_verified_is_not_read_again(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(raw)
    run_link(tmp_path)
    before = outs(tmp_path)
    read = []
    monkeypatch.setattr(
        "formwork.datasets.verify.inspect_files", lambda root, paths: read.extend(paths) or inspect_files(root, paths)
    )

    run_link(tmp_path)
    assert (read, outs(tmp_path)) == ([], before)

    (raw / "cat/000.png").write_bytes((raw / "cat/002.png").read_bytes())
    run_link(tmp_path)
    assert read == ["cat/000.png"]
    run_link(tmp_path)
    assert read == ["cat/000.png"] * 2, "changed just now: it may change again within the same tick of the clock"


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_a_damaged_memory_is_made_anew(raw: Path, tmp_path: Path, content: bytes) -> None:
    age(raw)
    run_link(tmp_path)
    before = outs(tmp_path)
    (tmp_path / "interim" / NAME / MEMORY).write_bytes(content)

    run_link(tmp_path)

    assert outs(tmp_path) == before
