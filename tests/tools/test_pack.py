"""Packing folders into tars: the same bytes for the same folder, nothing lost, nothing changed that is there."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from formwork.datasets.candidates import find_candidates, find_files
from formwork.errors import FormworkError
from formwork.tools.pack import pack
from tests.make_images import make_dataset
from tests.workspace import snapshot

SHARD = 3000  # bytes


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = make_dataset(tmp_path / "photos", ("cat", "dog ü"))
    (folder / "cat/.DS_Store").write_bytes(b"litter")
    return folder


def members(target: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted(target.glob("*.tar")):
        with tarfile.open(path) as tar:
            for one in tar:
                assert one.name not in found
                found[one.name] = tar.extractfile(one).read()
    return found


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_the_same_folder_gives_the_same_tars_with_all_of_it(photos: Path, tmp_path: Path) -> None:
    said = pack(photos, tmp_path / "tars", SHARD)
    copy = tmp_path / "copy"
    for path in sorted((path for path in photos.rglob("*") if path.is_file()), reverse=True):  # in another order
        (copy / path.relative_to(photos)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy / path.relative_to(photos))
        os.chmod(copy / path.relative_to(photos), 0o600)
    pack(copy, tmp_path / "again", SHARD)

    assert members(tmp_path / "tars") == files(photos)
    assert "2 new tars (shard-00000.tar to shard-00001.tar), 16 files" in said
    assert "1 hidden or system file (cat/.DS_Store" in said
    assert snapshot(tmp_path / "tars") == snapshot(tmp_path / "again")
    of_files, of_tars = find_candidates(photos), find_candidates(tmp_path / "tars")
    assert [(c.class_name, Path(c.path).name) for c in of_files] == [(c.class_name, Path(c.path).name) for c in of_tars]


def test_what_is_new_goes_into_new_tars(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "tars"
    pack(photos, target, SHARD)
    before = snapshot(target)
    assert "no new tar, 0 files" in pack(photos, target, SHARD)
    assert snapshot(target) == before

    (photos / "cat/new.png").write_bytes((photos / "cat/000.png").read_bytes() + b"more")
    (photos / "cat/001.png").unlink()
    said = pack(photos, target, SHARD)

    assert "1 new tar (shard-00002.tar), 1 file." in said
    assert "15 files were in tars there already" in said
    assert "kept in the tars: 1 file" in said
    assert before.items() <= snapshot(target).items()
    (photos / "cat/000.png").write_bytes(b"another")
    before = snapshot(target)
    with pytest.raises(FormworkError, match=r"cat/000\.png is not the file of this name in .*shard-00000\.tar"):
        pack(photos, target, SHARD)
    assert snapshot(target) == before


def test_splits_and_tables_stay_what_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for split in ("train", "val"):
        make_dataset(folder / split, per_class=4)
        rows = [f"{name}/{number:03d}.png,{name[0]}" for name in ("cat", "dog") for number in range(4)]
        (folder / split / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))
    pack(folder, tmp_path / "tars", 1000)
    found = find_files(tmp_path / "tars").candidates
    assert sum(path.name.startswith("train-") for path in (tmp_path / "tars").iterdir()) > 1
    assert {(file.split, file.class_name) for file in found} == {(s, c) for s in ("train", "val") for c in "cd"}
    assert len(found) == 16

    shutil.rmtree(folder)
    make_dataset(folder, ("images",), per_class=6)
    table = folder / "labels.csv"
    table.write_text("path,label\n" + "".join(f"images/{number:03d}.png,{'ab'[number % 2]}\n" for number in range(6)))
    assert "labels.csv lies beside the tars" in pack(folder, tmp_path / "more", 1000)
    assert {file.class_name for file in find_candidates(tmp_path / "more")} == {"a", "b"}
    table.write_text(table.read_text() + "\n")
    assert f"`cp {table} {tmp_path}/more/labels.csv` replaces it" in pack(folder, tmp_path / "more", 1000)


def test_what_cannot_be_packed_is_an_error_that_names_it(photos: Path, tmp_path: Path) -> None:
    for target, message in {
        tmp_path / "photos/tars": "lie in each other",
        tmp_path: "lie in each other",
        photos / "cat/000.png": "lie in each other",
    }.items():
        with pytest.raises(FormworkError, match=message):
            pack(photos, target, SHARD)
    with pytest.raises(FormworkError, match=r"gone is no folder"):
        pack(tmp_path / "gone", tmp_path / "tars", SHARD)
    (photos / "cat/link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FormworkError, match=r"cat/link is a link to a folder, or to nothing"):
        pack(photos, tmp_path / "tars", SHARD)
    (photos / "cat/link").unlink()
    pack(photos, tmp_path / "tars", SHARD)
    tar = tmp_path / "tars/shard-00000.tar"
    tar.write_bytes(tar.read_bytes()[:1200])
    with pytest.raises(FormworkError, match=r"shard-00000\.tar: it .*Remove it, and it is packed anew"):
        pack(photos, tmp_path / "tars", SHARD)
    (photos / "cat/x.tar").write_bytes(b"")
    with pytest.raises(FormworkError, match=r"cat/x\.tar is a tar already"):
        pack(photos, tmp_path / "tars", SHARD)
