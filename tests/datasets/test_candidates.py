"""Which files of a raw dataset are candidates, and to which split and class each belongs."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from formwork.datasets.candidates import Candidate, find_candidates
from formwork.errors import DatasetError
from tests import permissions
from tests.make_images import make_dataset

# --- Layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["val", "test"])
def test_a_dataset_may_have_its_own_splits(tmp_path: Path, folder: str) -> None:
    make_dataset(tmp_path / "train", per_class=2)
    make_dataset(tmp_path / folder, per_class=1)

    found = set(find_candidates(tmp_path))

    assert found == {
        Candidate(split, name, f"{where}/{name}/{number}.png")
        for split, where, number in [("train", "train", "000"), ("train", "train", "001"), (folder, folder, "000")]
        for name in ("cat", "dog")
    }


def test_without_folders_for_splits_the_dataset_says_none(tmp_path: Path) -> None:
    make_dataset(tmp_path, per_class=2)

    found = find_candidates(tmp_path)

    assert list(found.paths) == ["cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png"]
    assert {candidate.split for candidate in found} == {""}


def test_folders_within_a_class_belong_to_it_and_dot_files_to_nobody(tmp_path: Path) -> None:
    make_dataset(tmp_path, per_class=1)
    make_dataset(tmp_path / "cat", classes=["more/of them"], per_class=1)
    make_dataset(tmp_path, classes=[".hidden", "dog/.cache"], per_class=1)
    for name in (".DS_Store", "cat/.000.png", "LICENSE"):
        (tmp_path / name).touch()

    found = find_candidates(tmp_path)

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
    "no val": (lambda raw: make_dataset(raw, ["train/cat", "train/dog"]), ("{raw} has train/", "Add {raw}/val")),
    "no train": (lambda raw: make_dataset(raw, ["test/cat", "test/dog"]), ("{raw} has test/", "Add {raw}/train")),
    "other classes": (
        lambda raw: make_dataset(raw, ["train/cat", "train/dog", "val/cat", "val/cow"]),
        ("{raw}: the splits have different classes", "cow, dog"),
    ),
    "other classes in test": (
        lambda raw: make_dataset(raw, [f"{split}/{name}" for split in ("train", "val", "test") for name in "abc"][:-1]),
        ("{raw}: the splits have different classes; not all of them have c",),
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
        find_candidates(raw)

    for part in expected:
        assert part.format(raw=raw) in str(error.value)
