"""Which files of a raw dataset are candidates, and to which split and class each belongs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from formwork.datasets.candidates import Candidate, find_candidates
from formwork.errors import DatasetError
from tests import permissions
from tests.make_images import make_dataset


def splits(raw: Path, val_fraction: float = 0.4) -> dict[str, str]:
    """Split by path."""
    return {candidate.path: candidate.split for candidate in find_candidates(raw, val_fraction)}


# --- Layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["val", "test"])
def test_a_dataset_may_have_its_own_splits(tmp_path: Path, folder: str) -> None:
    make_dataset(tmp_path / "train", per_class=2)
    make_dataset(tmp_path / folder, per_class=1)

    found = set(find_candidates(tmp_path, 0.99))

    assert found == {
        Candidate(split, name, f"{where}/{name}/{number}.png")
        for split, where, number in [("train", "train", "000"), ("train", "train", "001"), ("val", folder, "000")]
        for name in ("cat", "dog")
    }


def test_or_leave_the_split_to_a_hash_of_the_path(tmp_path: Path) -> None:
    make_dataset(tmp_path, per_class=200, size=(1, 1))

    found = splits(tmp_path, 0.3)

    assert len(found) == 400
    assert list(found) == sorted(found)
    assert 0.24 < list(found.values()).count("val") / 400 < 0.36
    assert "cat/000.png" in found


def test_a_larger_val_fraction_only_adds_to_validation(tmp_path: Path) -> None:
    make_dataset(tmp_path, per_class=30, size=(1, 1))
    in_val = [{path for path, split in splits(tmp_path, f).items() if split == "val"} for f in (0.1, 0.3, 0.6)]

    assert in_val[0] < in_val[1] < in_val[2]


def test_adding_and_removing_images_moves_no_other(tmp_path: Path) -> None:
    make_dataset(tmp_path, per_class=30, size=(1, 1))
    before = splits(tmp_path)
    for path in ("cat/003.png", "dog/017.png"):
        (tmp_path / path).unlink()
    make_dataset(tmp_path, classes=["ant"], per_class=10, size=(1, 1))
    shutil.copy(tmp_path / "cat/000.png", tmp_path / "cat/new.png")

    after = splits(tmp_path)

    assert len(after.keys() - before.keys()) == 11
    assert len(before.keys() - after.keys()) == 2
    assert {path: before[path] for path in before.keys() & after.keys()}.items() <= after.items()


def test_folders_within_a_class_belong_to_it_and_dot_files_to_nobody(tmp_path: Path) -> None:
    make_dataset(tmp_path, per_class=1)
    make_dataset(tmp_path / "cat", classes=["more/of them"], per_class=1)
    make_dataset(tmp_path, classes=[".hidden", "dog/.cache"], per_class=1)
    for name in (".DS_Store", "cat/.000.png", "LICENSE"):
        (tmp_path / name).touch()

    found = find_candidates(tmp_path, 0.5)

    assert [(c.class_name, c.path) for c in found] == [
        ("cat", "cat/000.png"),
        ("cat", "cat/more/of them/000.png"),
        ("dog", "dog/000.png"),
    ]


# --- Layouts that cannot be used ----------------------------------------------------------------


UNUSABLE: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "missing": (lambda raw: raw.rmdir(), ("{raw} is missing", "dvc pull {raw}", "data.fetch", "dvc add {raw}")),
    "a file": (lambda raw: (raw.rmdir(), raw.touch()), ("{raw} is missing",)),
    "empty": (lambda raw: None, ("{raw} holds no class folders",)),
    "no class folders": (lambda raw: (raw / "0.png").touch(), ("{raw} holds no class folders",)),
    "empty class": (
        lambda raw: (make_dataset(raw), (raw / "ant").mkdir(), (raw / "bee").mkdir()),
        ("Class without any file: {raw}/ant, {raw}/bee",),
    ),
    "one class": (lambda raw: make_dataset(raw, ["cat"]), ("{raw} holds one class only, 'cat'",)),
    "mixed": (
        lambda raw: make_dataset(raw, ["train/cat", "train/dog", "ant"]),
        ("{raw} mixes split folders (train) with others (ant)",),
    ),
    "val and test": (
        lambda raw: make_dataset(raw, ["train/cat", "train/dog", "val/cat", "val/dog", "test/cat", "test/dog"]),
        ("{raw} has both val/ and test/",),
    ),
    "no val": (lambda raw: make_dataset(raw, ["train/cat", "train/dog"]), ("{raw} has train/", "Add {raw}/val")),
    "no train": (lambda raw: make_dataset(raw, ["test/cat", "test/dog"]), ("{raw} has test/", "Add {raw}/train")),
    "other classes": (
        lambda raw: make_dataset(raw, ["train/cat", "train/dog", "val/cat", "val/cow"]),
        ("{raw}: the splits have different classes", "cow, dog"),
    ),
    "empty split": (
        lambda raw: (make_dataset(raw, ["train/cat", "train/dog"]), (raw / "val").mkdir()),
        ("{raw}/val holds no class folders",),
    ),
    "linked in a circle": (
        lambda raw: (make_dataset(raw), (raw / "cat/a").symlink_to("."), (raw / "cat/b").symlink_to("..")),
        ("is a link to a folder that it lies in",),
    ),
    "linked to each other": (
        lambda raw: (
            make_dataset(raw),
            (raw / "cat/to dog").symlink_to("../dog"),
            (raw / "dog/to cat").symlink_to("../cat"),
        ),
        ("{raw}/cat/to dog/to cat is a link to a folder that it lies in",),
    ),
    "forbidden folder": (
        lambda raw: (make_dataset(raw, ["cat", "dog", "dog/more"]), (raw / "dog/more").chmod(0)),
        ("{raw}/dog/more cannot be read: Permission denied",),
    ),
    "class of no text": (
        lambda raw: (make_dataset(raw), (raw / os.fsdecode(b"caf\xe9")).mkdir()),
        (r"{raw}/caf\udce9 is no UTF-8. Rename it",),
    ),
}


@pytest.mark.parametrize(("make", "expected"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_layout_is_explained(tmp_path: Path, make: Callable[[Path], object], expected: list[str]) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    make(raw)

    with permissions.enforced(), pytest.raises(DatasetError) as error:
        find_candidates(raw, 0.5)

    for part in expected:
        assert part.format(raw=raw) in str(error.value)
