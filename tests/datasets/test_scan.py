"""Which images a raw dataset has, to which split and class each belongs, and which cannot be read."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.datasets.inspect_file import Bad, Facts, check, inspect_files
from formwork.datasets.scan import Candidate, find_candidates
from formwork.errors import DatasetError
from tests import permissions
from tests.make_images import make_dataset, noise


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
    "forbidden folder": (
        lambda raw: (make_dataset(raw, ["cat", "dog", "dog/more"]), (raw / "dog/more").chmod(0)),
        ("{raw}/dog/more cannot be read: Permission denied",),
    ),
    "class of no text": (
        lambda raw: (make_dataset(raw), (raw / os.fsdecode(b"caf\xe9")).mkdir()),
        ("{raw}/caf\udce9 is no UTF-8. Rename it",),
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


# --- Reading ------------------------------------------------------------------------------------


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    make_dataset(tmp_path, ["cat"], per_class=3, size=(30, 20), content="noise")
    make_dataset(tmp_path, ["dog"], per_class=1, size=(30, 20), format="JPEG", content="noise")
    return tmp_path


def look(raw: Path, path: str) -> Facts | Bad:
    return check(str(raw / path))


def test_a_row_says_what_the_file_holds(raw: Path) -> None:
    path = raw / "cat/000.png"
    exif = Image.Exif()
    exif[0x0112] = 6  # on its side: upright it is 20 x 30
    with Image.open(path) as image:
        image.convert("L").save(path, exif=exif)
        grey = np.asarray(image.convert("L")).astype(np.int64)

    found = look(raw, "cat/000.png")

    data = path.read_bytes()
    assert (found.size, found.width, found.height) == (len(data), 20, 30)
    assert (found.mode, found.format, found.sha256) == ("L", "PNG", hashlib.sha256(data).digest())
    assert found.moments == (grey.sum(), (grey**2).sum()) * 3


def test_sums_are_by_channel(raw: Path) -> None:
    found = look(raw, "cat/001.png")

    with Image.open(raw / "cat/001.png") as image:
        pixels = np.asarray(image).astype(np.int64)
    assert found.moments[::2] == tuple(pixels.sum((0, 1)).tolist())
    assert found.moments[1::2] == tuple((pixels**2).sum((0, 1)).tolist())


def test_sums_are_of_each_image_whatever_its_size(tmp_path: Path) -> None:
    """Small ones are summed many at once, large ones otherwise; white ones have the largest sums."""
    rng = np.random.default_rng(0)
    sizes = [(1, 1), (16, 16), (257, 1), (128, 128), (129, 128), (3, 5), (300, 200), (17, 40), (31, 33)]
    images = [noise(rng, *size) for size in sizes] + [Image.new("RGB", size, "white") for size in sizes]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "3.png").read_bytes()[:-2000])
    names = [f"{number}.png" for number in range(len(images))]

    found = inspect_files(str(tmp_path), [*names[:3], "cut.png", *names[3:]])

    assert isinstance(found.pop(3), Bad)
    for image, facts in zip(images, found, strict=True):
        values = np.asarray(image).astype(np.int64)
        expected = np.stack([values.sum((0, 1)), (values**2).sum((0, 1))], axis=1)
        assert facts.moments == tuple(expected.ravel().tolist())
        assert (facts.width, facts.height) == image.size


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _replace(path: Path, change: Callable[[Path], object]) -> None:
    path.unlink()
    change(path)


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "empty": ("cat/000.png", lambda path: path.write_bytes(b""), "zero bytes"),
    "cut PNG": ("cat/000.png", _cut, "truncated"),
    "cut JPEG": ("dog/000.jpeg", _cut, "truncated"),
    "text": ("cat/000.png", lambda path: path.write_text("no image"), "not an image"),
    "header only": ("cat/000.png", lambda path: path.write_bytes(path.read_bytes()[:20]), "truncated"),
    "broken symlink": ("cat/000.png", lambda path: _replace(path, lambda p: p.symlink_to("none")), "broken symlink"),
    "symlink loop": ("cat/000.png", lambda path: _replace(path, lambda p: p.symlink_to(p.name)), "unreadable"),
    "forbidden": ("cat/000.png", lambda path: path.chmod(0), "no permission"),
    "animated": (
        "cat/000.png",
        lambda path: Image.new("L", (4, 4)).save(path, "GIF", save_all=True, append_images=[Image.new("L", (4, 4), 9)]),
        "animated",
    ),
    "floating-point": ("cat/000.png", lambda path: Image.new("F", (4, 4)).save(path, "TIFF"), "unsupported pixels"),
    "pipe": ("cat/000.png", lambda path: _replace(path, os.mkfifo), "unreadable"),
}


@pytest.mark.parametrize(("name", "spoil", "kind"), BAD.values(), ids=BAD)
def test_an_unreadable_file_has_a_kind_and_a_reason(
    raw: Path, name: str, spoil: Callable[[Path], object], kind: str
) -> None:
    spoil(raw / name)

    with permissions.enforced():
        paths = [candidate.path for candidate in find_candidates(raw, 0.5)]
        found = look(raw, name)

    assert name in paths
    assert isinstance(found, Bad)
    assert found.reason.strip()
    assert found.kind == kind
