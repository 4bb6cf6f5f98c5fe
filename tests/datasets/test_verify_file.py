"""What verification finds in each file: what a manifest says of an image, or why the file cannot be used."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.datasets.candidates import find_candidates
from formwork.datasets.verify_file import BadFile, File, ImageInfo, verify_files
from tests import permissions
from tests.make_images import make_dataset, noise


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    make_dataset(tmp_path, ["cat"], per_class=3, size=(30, 20), content="noise")
    make_dataset(tmp_path, ["dog"], per_class=1, size=(30, 20), format="JPEG", content="noise")
    return tmp_path


def look(raw: Path, path: str) -> ImageInfo | BadFile:
    return verify_files(str(raw), [File(path)])[0]


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

    found = verify_files(str(tmp_path), [File(name) for name in (*names[:3], "cut.png", *names[3:])])

    assert isinstance(found.pop(3), BadFile)
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
        paths = find_candidates(raw).paths
        found = look(raw, name)

    assert name in paths
    assert isinstance(found, BadFile)
    assert found.reason.strip()
    assert found.kind == kind


def test_a_file_that_is_removed_meanwhile_is_no_broken_symlink(raw: Path) -> None:
    found = look(raw, "cat/gone.png")

    assert found == BadFile("unreadable", "it is not there any more")


def test_a_file_larger_than_any_image_is_not_read(raw: Path) -> None:
    os.truncate(raw / "cat/000.png", 1 << 40)  # a sparse file

    assert look(raw, "cat/000.png") == BadFile("too large", "1099.5 GB: no image within the limit of pixels is")
    assert isinstance(look(raw, "dog/000.jpeg"), ImageInfo)
