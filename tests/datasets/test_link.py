"""The link stage: raw images to manifests, tree and settings, or one clear message."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.datasets.link import CACHE_FILE, link
from formwork.datasets.verify_file import verify_files
from formwork.errors import DatasetError
from formwork.images.manifest import SPLITS, read_manifest
from formwork.interim.settings import Settings
from formwork.params import Params
from tests.datasets.linking import NAME, OUTS, outs, rows, run_link
from tests.make_images import make_dataset

# --- What it writes -----------------------------------------------------------------------------


def test_every_image_is_in_one_split_with_the_label_of_its_class(raw: Path, tmp_path: Path) -> None:
    settings = run_link(tmp_path)
    train, val, test = (rows(tmp_path, split) for split in SPLITS)

    assert settings.class_names == ["a dog", "cat", "Äffin"]
    assert settings.splits == ["train", "val", "test"]
    assert [len(split) for split in (train, val, test)] == [27, 6, 3]
    assert sorted([*train, *val, *test]) == sorted(str(p.relative_to(raw)) for p in raw.rglob("*.png"))
    for path, (class_name, label) in (train | val | test).items():
        assert class_name == path.split("/")[0] == settings.class_names[label]
    assert (tmp_path / "report.csv").read_text() == "path,split,class_name,kind,reason,duplicate_of,action\n"


@pytest.mark.parametrize(
    ("folders", "options", "expected"),
    [
        ("train val", {}, ["train", "val", ""]),
        ("train val test", {}, ["train", "val", "test"]),
        ("Training valid test", {"official_test": "val"}, ["Training", "valid", "test"]),
        ("train Test", {"official_test": "val"}, ["train", "Test", ""]),
    ],
)
def test_splits_of_its_own(tmp_path: Path, folders: str, options: dict[str, str], expected: list[str]) -> None:
    for number, folder in enumerate(folders.split()):
        make_dataset(tmp_path / "raw" / NAME / folder, per_class=2, seed=number)

    settings = run_link(tmp_path, split=options)

    for split, folder in zip(SPLITS, expected, strict=True):
        assert rows(tmp_path, split) == {
            f"{folder}/{name}/00{i}.png": (name, label)
            for label, name in enumerate(("cat", "dog"))
            for i in (0, 1)
            if folder
        }
    assert settings.splits == [split for split, folder in zip(SPLITS, expected, strict=True) if folder]
    with Image.open(tmp_path / "interim" / NAME / "val/cat/000.png") as image:
        assert image.size == (12, 10)


def test_an_official_test_set_stays_and_val_is_taken_out_of_train(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(tmp_path / "raw" / NAME / "train", per_class=10)
    make_dataset(tmp_path / "raw" / NAME / "test", per_class=3, seed=1)

    run_link(tmp_path)

    assert [len(rows(tmp_path, split)) for split in SPLITS] == [16, 4, 6]
    assert all(path.startswith("test/") for path in rows(tmp_path, "test"))
    assert "has a test split and none for validation: a share of 0.2 is taken out of train" in capsys.readouterr().out
    folds = []
    for fold in range(3):
        run_link(tmp_path, split={"folds": 3, "fold": fold})
        folds.append(set(rows(tmp_path, "val")))
        assert all(path.startswith("test/") for path in rows(tmp_path, "test"))
    assert sorted(path for fold in folds for path in fold) == sorted(
        f"train/{name}/{i:03d}.png" for name in ("cat", "dog") for i in range(10)
    )


def test_a_copy_of_an_official_test_image_is_not_trained_on(tmp_path: Path) -> None:
    raw = tmp_path / "raw" / NAME
    make_dataset(raw / "train", per_class=10)
    make_dataset(raw / "test", per_class=3, seed=1)
    shutil.copy(raw / "test/cat/000.png", raw / "train/cat/copy.png")

    run_link(tmp_path)

    assert "train/cat/copy.png" in rows(tmp_path, "test")


def test_groups_are_found_in_paths_and_never_straddle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = make_dataset(tmp_path / "raw" / NAME, per_class=24)
    for path in sorted(raw.rglob("*.png")):
        number = int(path.stem)
        path.rename(path.with_name(f"patient{number // 4}_{number}.png" if number < 20 else f"{number}.png"))

    run_link(tmp_path, split={"by": "group", "group": r"patient(\d+)"})

    of_group = {}
    for split in SPLITS:
        for row in read_manifest(tmp_path / "interim" / NAME / f"{split}.csv").rows:
            found = re.search(r"patient(\d+)", row.path)
            assert row.group == (found[1] if found else "")
            if found:
                of_group.setdefault(found[0], set()).add(split)
    assert len(of_group) == 5
    assert all(len(splits) == 1 for splits in of_group.values())
    assert "8 images in no group (cat/20.png, ...)" in capsys.readouterr().out
    with pytest.raises(DatasetError, match=r"data.split.group in params.yaml is 'patient_id', which is no column"):
        run_link(tmp_path, split={"by": "group", "group": "patient_id"})


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


def test_groups_that_a_dataset_has_in_several_splits_are_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw" / NAME
    for number, split in enumerate(("train", "val")):
        make_dataset(raw / split, per_class=3, seed=number)
    files = sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    (raw / "labels.csv").write_text("path,group\n" + "".join(f"{path},p{path[-5]}\n" for path in files))

    run_link(tmp_path)

    assert "WARNING: 3 groups have images in several splits, such as p0" in capsys.readouterr().out
    assert len(rows(tmp_path, "val")) == 6


def test_a_group_without_by_group_is_said_not_to_count(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_link(tmp_path, split={"group": "x"})

    assert "data.split.group does not count, as data.split.by is content" in capsys.readouterr().out


def test_images_keep_their_split_when_others_come_and_go(raw: Path, tmp_path: Path) -> None:
    run_link(tmp_path)
    before = {path: split for split in SPLITS for path in rows(tmp_path, split)}
    gone = {"cat/003.png", "a dog/007.png"}
    for path in gone:
        (raw / path).unlink()
    make_dataset(raw, ["bee"], seed=1)
    (raw / "Äffin").rename(raw / "ape")

    run_link(tmp_path)

    after = {path.replace("ape", "Äffin"): split for split in SPLITS for path in rows(tmp_path, split)}
    assert after.keys() ^ before.keys() == gone | {f"bee/00{i}.png" for i in range(8)}
    moved = [path for path, split in before.items() if path not in gone and after[path] != split]
    assert len([path for path in moved if path.startswith("cat")]) <= 2  # one for each border
    assert len([path for path in moved if path.startswith("a dog")]) <= 2
    assert not [path for path in moved if path.startswith("Äffin")]


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
        splits=list(SPLITS),
        resolution=9,
        mean=[0.1, 0.2, 0.3],
        std=[1, 2, 3],
        augment_train=[{"Resize": {}}],
        augment_val=[],
    )


def test_images_of_one_colour_can_be_normalised(tmp_path: Path) -> None:
    for number, path in enumerate(make_dataset(tmp_path / "raw" / NAME).rglob("*.png")):
        Image.new("RGB", (4 + number, 4), (0, 51, 255)).save(path)

    settings = run_link(tmp_path)

    assert settings.mean == [0, 0.2, 1]
    assert settings.std == [pytest.approx(1 / 255, abs=6e-5)] * 3


# --- Datasets that cannot be used ---------------------------------------------------------------


def empty(raw: Path, class_name: str) -> None:
    for path in (raw / class_name).iterdir():
        path.write_bytes(b"")


UNUSABLE: dict[str, tuple[Callable[[Path], object], dict[str, object], str]] = {
    "no validation images": (
        lambda raw: None,
        {"split": {"val": 1e-9, "test": 0}},
        "No images in the val split of {raw}, which has 36 images. Add images, or raise data.split.val; ",
    ),
    "no test images": (
        lambda raw: None,
        {"split": {"test": 1e-9}},
        "or raise data.split.test; `-S data.split.stratify=false` shares out all classes together. "
        "`-S data.split.test=0`: no test split.",
    ),
    "no images in a fold": (
        lambda raw: [path.unlink() for path in raw.rglob("*.png") if path.name > "001"],
        {"split": {"folds": 9, "test": 0}},
        "Add images, or lower data.split.folds; `-S data.split.stratify=false`",
    ),
    "a single group": (
        lambda raw: None,
        {"split": {"by": "group", "group": "png"}},
        "groups stay together, so check that data.split.group finds several; ",
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
    for path in list((raw / "cat").iterdir())[1:]:
        path.unlink()

    run_link(tmp_path)

    assert "WARNING: no validation images of class cat." in capsys.readouterr().out


# --- Cache --------------------------------------------------------------------------------------


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
        "formwork.datasets.verify.verify_files",
        lambda root, files: read.extend(file.path for file in files) or verify_files(root, files),
    )

    run_link(tmp_path)
    assert (read, outs(tmp_path)) == ([], before)

    (raw / "cat/000.png").write_bytes((raw / "cat/002.png").read_bytes())
    run_link(tmp_path)
    assert read == ["cat/000.png"]
    run_link(tmp_path)
    assert read == ["cat/000.png"] * 2, "changed just now: it may change again within the same tick of the clock"


def test_a_run_on_a_group_keeps_what_was_verified_of_the_other_classes(raw: Path, tmp_path: Path) -> None:
    groups = {"groups": {"one": ["cat", "a dog"]}}
    make_dataset(raw, [f"more {number}" for number in range(6)], per_class=12)
    age(raw)
    run_link(tmp_path, groups)
    before = (tmp_path / "interim" / NAME / CACHE_FILE).read_bytes()

    run_link(tmp_path, groups, group="one")

    assert (tmp_path / "interim" / NAME / CACHE_FILE).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_a_damaged_cache_is_made_anew(raw: Path, tmp_path: Path, content: bytes) -> None:
    age(raw)
    run_link(tmp_path)
    before = outs(tmp_path)
    (tmp_path / "interim" / NAME / CACHE_FILE).write_bytes(content)

    run_link(tmp_path)

    assert outs(tmp_path) == before


# --- Folders that fetch made --------------------------------------------------------------------


@pytest.fixture
def fetched(raw: Path) -> Path:
    """As fetch leaves a folder."""
    digests = {path.relative_to(raw).as_posix(): digest(path) for path in raw.rglob("*.png")}
    (raw / ".fetched.json").write_text(json.dumps({"version": 1, "options": {}, "sha256": digests}))
    return raw


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "added": (lambda raw: shutil.copy(raw / "cat/000.png", raw / "cat/new.png"), "cat/new.png (added)"),
    "added beside": (lambda raw: (raw / "notes.txt").touch(), "notes.txt (added)"),
    "a class": (lambda raw: shutil.copytree(raw / "cat", raw / "cow"), "cow/000.png (added)"),
    "removed": (lambda raw: (raw / "cat/000.png").unlink(), "cat/000.png (removed)"),
    "changed": (lambda raw: shutil.copy(raw / "a dog/000.png", raw / "cat/000.png"), "cat/000.png (changed)"),
}


def link_digits(raw: Path, **data: object) -> None:
    params = Params.model_validate({"data": {"name": "digits", **data}})
    link(params, raw, raw.parent / "interim", raw.parent / "report.csv")


@pytest.mark.parametrize(("edit", "expected"), EDITS.values(), ids=EDITS)
def test_a_fetched_folder_that_was_edited_is_not_the_users_to_edit(
    fetched: Path, edit: Callable[[Path], object], expected: str
) -> None:
    link_digits(fetched, fetch=["digits"])
    edit(fetched)

    with pytest.raises(DatasetError) as error:
        link_digits(fetched, fetch=["digits"])

    assert f"{fetched} was edited after it was fetched:\n  {expected}" in str(error.value)
    assert f"`mv {fetched} {fetched}-mine`, `dvc add {fetched}-mine`" in str(error.value)
    assert "before `dvc exp run`" in str(error.value)
    link_digits(fetched)  # a copy under another name is its owner's


def test_litter_and_patterns_are_no_edit_of_a_fetched_folder(fetched: Path) -> None:
    for name in (".DS_Store", "cat/Thumbs.db"):
        (fetched / name).touch()

    link_digits(fetched, fetch=["digits"], ignore=["cat/00[0-4].png", "/a dog/"])
