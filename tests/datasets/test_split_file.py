"""The split file in git: how it is read, what it decides, and how it is written from the manifests."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from formwork.datasets.split_file import read_split_file, splits_of
from formwork.datasets.splits import FREE
from formwork.errors import DatasetError, FormworkError
from formwork.folders import Folders
from formwork.images.manifest import SPLITS
from formwork.tools.freeze import freeze
from tests.datasets.linking import NAME, all_rows, rows, run_link
from tests.make_images import make_dataset

PATHS = ["a/0.png", "a/1.png", "b/0.png", "b/Ä.png"]


def digests(*numbers: int) -> np.ndarray:
    return np.repeat(np.array(numbers, np.uint8)[:, None], 32, axis=1)


def digest(number: int) -> str:
    return f"{number:02x}" * 32


def read(tmp_path: Path, text: str | bytes, contents: np.ndarray | None = None) -> tuple[list[str], list[str]]:
    """The split of each of PATHS by a file, "" for none, and the notes."""
    path = tmp_path / "file.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    file = read_split_file(path)
    found, notes = splits_of(file, tmp_path / "raw", PATHS, digests(0, 1, 2, 3) if contents is None else contents)
    return ["" if split == FREE else SPLITS[split] for split in found], notes


# --- Reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "path,split\na/0.png,train\nb/0.png,test\nb/Ä.png,val\n",
        "\ufeffpath,split\r\na/0.png,train\r\nb/0.png,test\r\nb/Ä.png,val\r\n",
        'Split;Path\nTraining;"a/0.png"\n\ntest;b\\0.png\nvalidation;b/A\u0308.png\n',
        "path,split,notes\na/0.png,train,x\nb/0.png,test,\nb/Ä.png,valid,\n",
        f"path,split,sha256\na/0.png,train,\nold/x.png,test,{digest(2)}\nb/Ä.png,val,{digest(9).upper()}\n",
    ],
)
def test_a_file_may_be_written_by_people_and_other_programs(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text)[0] == ["train", "", "test", "val"]
    assert read(tmp_path, text.lstrip("\ufeff").encode("utf-16"))[0] == ["train", "", "test", "val"]


def test_content_counts_before_the_path_and_the_path_where_the_content_is_new(tmp_path: Path) -> None:
    text = f"path,split,sha256\na/0.png,train,{digest(1)}\na/1.png,val,{digest(0)}\nb/0.png,test,{digest(8)}\n"

    found, notes = read(tmp_path, text)

    assert found == ["val", "train", "test", ""]  # the first two have changed names
    assert notes == []


def test_copies_in_several_splits_stay_there_and_a_moved_one_goes_to_test(tmp_path: Path) -> None:
    text = f"path,split,sha256\na/0.png,train,{digest(1)}\na/1.png,test,{digest(1)}\n"

    assert read(tmp_path, text, digests(1, 1, 1, 3))[0] == ["train", "test", "test", ""]


def test_lines_without_an_image_are_counted(tmp_path: Path) -> None:
    found, notes = read(tmp_path, "path,split\nc/7.png,test\na/0.png,train\nc/8.png,val\n")

    assert found == ["train", "", "", ""]
    assert notes == [
        f"{tmp_path}/file.csv: 2 lines of images that are not used or not there, such as c/7.png (line 2)."
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "{path} is empty"),
        ("path,part\na/0.png,train\n", "{path} has no column 'split'; it has path, part. Its first line must be"),
        ("file,split\na/0.png,train\n", "{path} has no column 'path'"),
        ("path,split\na/0.png,train\n\nb/0.png,tarin\n", "{path}, line 4: the split is tarin. Write train, val, test."),
        ("path,split\na/0.png,\n", "{path}, line 2: the split is empty"),
        ("path,split\na/0.png,train\nb/0.png,val\na/0.png,train\n", "{path}, line 4: a/0.png is listed twice"),
        ("path,split\na/0.png,train\na\\0.png,val\n", "{path}, line 3: this is a/0.png, as is {path}, line 2"),
        ("path,split\n,train\n", "{path}, line 2: the path is empty"),
        ("path,split\n../x.png,train\n", "{path}, line 2: ../x.png leaves the dataset"),
        ("path,split,sha256\na/0.png,train,12ab\n", "{path}, line 2: sha256 is 12ab, and not 64 hexadecimal digits"),
        ("path,split,Split\na/0.png,train,val\n", "{path}, line 1: two columns are called split and Split"),
        ("path,split\na/0.png,train,x\n", "{path}, line 2"),
        ("path,split\n\x1b[31m,train\n\x1b[31m,val\n", r"\x1b[31m is listed twice"),
    ],
)
def test_a_bad_file_is_an_error_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(DatasetError) as error:
        read(tmp_path, text)

    assert expected.replace("{path}", f"{tmp_path}/file.csv") in str(error.value)
    assert "\x1b" not in str(error.value)


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"Is a directory\. Make it readable, or remove it"):
        read_split_file(tmp_path)
    assert read_split_file(tmp_path / "none.csv") is None


# --- With link --------------------------------------------------------------------------------------


@pytest.fixture
def linked(raw: Path, tmp_path: Path) -> dict[str, str]:
    """The split by path, after link."""
    run_link(tmp_path)
    return of_each(tmp_path)


def of_each(data: Path) -> dict[str, str]:
    return {path: split for split in SPLITS for path in rows(data, split)}


def frozen(data: Path, force: bool = False) -> Path:
    path = data / f"splits/{NAME}.csv"
    freeze(Folders(data / "raw" / NAME, data / "interim" / NAME, data / "processed"), path, force)
    return path


def test_frozen_splits_stay_whatever_the_params_say_and_new_images_are_shared_out(
    raw: Path, tmp_path: Path, linked: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = frozen(tmp_path)
    other = {"val": 0.5, "test": 0.3}
    run_link(tmp_path, split=other)
    assert of_each(tmp_path) != linked
    run_link(tmp_path, split_file=path, split=other)
    assert of_each(tmp_path) == linked

    (raw / "cat/003.png").rename(raw / "a dog/moved.png")
    make_dataset(raw, ["bee"], per_class=10, seed=1)
    capsys.readouterr()
    run_link(tmp_path, split_file=path)

    again = of_each(tmp_path)
    found = dict(again)
    assert found.pop("a dog/moved.png") == linked.pop("cat/003.png")
    assert {name: split for name, split in found.items() if not name.startswith("bee")} == linked
    bees = [split for name, split in found.items() if name.startswith("bee")]
    assert sorted(bees) == ["test", *["train"] * 7, "val", "val"]
    said = capsys.readouterr().out
    assert f"10 images are not in {path} (bee/000.png, ...): data.split decides." in said
    frozen(tmp_path, force=True)
    run_link(tmp_path, split_file=path, split=other)
    assert of_each(tmp_path) == again


def test_a_file_without_test_images_is_a_dataset_without_a_test_split(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    names = [file.relative_to(raw).as_posix() for file in raw.rglob("*.png")]
    path.write_text("path,split\n" + "".join(f"{name},{'val' if '0.png' in name else 'train'}\n" for name in names))

    assert run_link(tmp_path, split_file=path).splits == ["train", "val"]
    assert all("0.png" in name for name in rows(tmp_path, "val"))


def test_a_file_without_validation_images_is_an_error_that_names_it(raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    names = [file.relative_to(raw).as_posix() for file in raw.rglob("*.png")]
    path.write_text("path,split\n" + "".join(f"{name},train\n" for name in names))

    with pytest.raises(DatasetError, match=r"No images in the val split .*, or its split file, says the splits: add"):
        run_link(tmp_path, split_file=path)


def test_folds_leave_the_test_images_of_the_file_alone(raw: Path, tmp_path: Path, linked: dict[str, str]) -> None:
    path = frozen(tmp_path)
    folds = []
    for fold in range(4):
        run_link(tmp_path, split_file=path, split={"folds": 4, "fold": fold})
        assert set(rows(tmp_path, "test")) == {name for name, split in linked.items() if split == "test"}
        folds += rows(tmp_path, "val")

    assert sorted(folds) == sorted(name for name, split in linked.items() if split != "test")
    (raw / "cat/another.png").write_bytes((raw / "cat/003.png").read_bytes() + b"\0")  # in no file
    run_link(tmp_path, split_file=path, split={"folds": 4, "fold": 0})
    assert set(rows(tmp_path, "test")) == {name for name, split in linked.items() if split == "test"}


def test_freezing_gives_the_same_bytes_and_replaces_nothing_unasked(tmp_path: Path, linked: dict[str, str]) -> None:
    path = frozen(tmp_path)
    before = path.read_bytes()

    with pytest.raises(FormworkError, match=r"is there already, and says the splits.*make split ARGS=--force"):
        frozen(tmp_path)
    path.write_text("mine")
    frozen(tmp_path, force=True)

    assert path.read_bytes() == before
    with path.open(encoding="utf-8", newline="") as file:
        assert {line["path"]: line["split"] for line in csv.DictReader(file)} == linked


def test_names_that_are_no_utf8_are_found_by_their_content(raw: Path, tmp_path: Path) -> None:
    shutil.move(raw / "cat/003.png", os.fsencode(raw / "cat") + b"/caf\xe9.png")
    run_link(tmp_path)
    before = of_each(tmp_path)

    run_link(tmp_path, split_file=frozen(tmp_path), split={"val": 0.6})

    assert of_each(tmp_path) == before
    assert len(all_rows(tmp_path)) == 36


# --- What moved ---------------------------------------------------------------------------------------


def test_link_names_the_images_that_moved(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_link(tmp_path)
    seen = 0
    for seed in range(1, 12):
        before = of_each(tmp_path)
        make_dataset(tmp_path / "new", ["x"], per_class=1, seed=seed)
        (tmp_path / "new/x/000.png").rename(raw / f"cat/new{seed}.png")
        capsys.readouterr()
        run_link(tmp_path)
        after = of_each(tmp_path)
        moved = [f"{path} ({split} to {after[path]})" for path, split in before.items() if after[path] != split]
        said = capsys.readouterr().out
        assert all(image in said for image in moved)
        assert ("moved to another split" in said) == bool(moved)
        seen += len(moved)

    assert seen
    (tmp_path / "interim" / NAME / ".splits.npz").write_bytes(b"PK damaged")
    run_link(tmp_path)
    run_link(tmp_path, split={"val": 0.5})
    assert "moved to another split" not in capsys.readouterr().out
