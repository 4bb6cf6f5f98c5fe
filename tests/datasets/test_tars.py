"""Tars as raw data: which folder each stands for, what link makes of it, and what it says of odd ones."""

import gzip
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from formwork.datasets.candidates import find_files
from formwork.datasets.tar_folders import folder_names
from formwork.datasets.verify_file import verify_files
from formwork.errors import DatasetError
from formwork.images.manifest import read_manifest
from tests.datasets.linking import NAME, all_rows, outs, report, rows, run_link
from tests.huggingface import images
from tests.tars import member, tar_bytes, write_tar

IMAGES = images(64)
ALL_TRAIN = {"val": 0.25, "test": 0.0, "stratify": False}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw" / NAME
    folder.mkdir(parents=True)
    return folder


def flat(start: int = 0, number: int = 8) -> dict[str, bytes]:
    return {f"{place}.png": IMAGES[place % 64] for place in range(start, start + number)}


def folders(*classes: str, start: int = 0) -> dict[str, bytes]:
    return {
        f"{name}/{file}": content
        for place, name in enumerate(classes)
        for file, content in flat(start + 8 * place).items()
    }


def samples(start: int = 0, number: int = 8, **more: bytes) -> dict[str, bytes]:
    """As WebDataset has them."""
    found: dict[str, bytes] = {}
    for name, content in flat(start, number).items():
        key = name.partition(".")[0]
        found |= {name: content, f"{key}.cls": b"%d\n" % (int(key) % 2), **{f"{key}.{e}": c for e, c in more.items()}}
    return found


def found(raw: Path, **options: object) -> dict[str, tuple[str, str]]:
    """Split and class by path."""
    return {file.path: (file.split, file.class_name) for file in find_files(raw, **options).candidates}


LAYOUTS: dict[str, tuple[Mapping[str, Mapping[str, bytes]], Mapping[str, tuple[str, str]]]] = {
    "class folders in a tar": ({"photos.tar": folders("a", "b")}, {"photos.tar/a/0.png": ("", "a")}),
    "a tar a class": ({"a.tar": flat(), "b.tar": flat(8)}, {"a.tar/0.png": ("", "a"), "b.tar/8.png": ("", "b")}),
    "a tar a class, numbers": ({"7.tar": flat(), "10.tar": flat(8)}, {"10.tar/8.png": ("", "10")}),
    "classes with numbers": (
        {"n01.tar": flat(), "b-737.tar": flat(8), "b-747.tar": flat(16)},
        {"b-737.tar/8.png": ("", "b-737")},
    ),
    "shards": (
        {"x-000.tar": folders("a", "b"), "x-001.tar": folders("a", start=16)},
        {"x-000.tar/b/8.png": ("", "b"), "x-001.tar/a/16.png": ("", "a")},
    ),
    "shards by number": ({"00.tar": folders("a"), "01.tar": folders("b")}, {"01.tar/b/0.png": ("", "b")}),
    "splits": (
        {
            "train-0.tar": folders("a", "b"),
            "train-1.tar": folders("a", start=16),
            "val.tar": folders("a", "b", start=24),
        },
        {"train-1.tar/a/16.png": ("train", "a"), "val.tar/b/32.png": ("val", "b")},
    ),
    "classes in split folders": (
        {f"{place}.tar": flat(8 * n) for n, place in enumerate(("train/a", "train/b", "val/a", "val/b"))},
        {"train/b.tar/8.png": ("train", "b"), "val/a.tar/16.png": ("val", "a")},
    ),
    "tars in a tar": (
        {"ILSVRC2012_img_train.tar": {"a.tar": tar_bytes(flat()), "b.tar": tar_bytes(flat(8))}},
        {"ILSVRC2012_img_train.tar/b.tar/8.png": ("", "b")},
    ),
    "loose images beside": (
        {"a.tar": flat(), "b/1.png": {}, "b/more.tar": flat(8)},
        {"b/more.tar/8.png": ("", "b"), "b/1.png": ("", "b")},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(raw: Path, name: str) -> None:
    files, expected = LAYOUTS[name]
    for path, content in files.items():
        if path.endswith(".tar"):
            write_tar(raw / path, content)
        else:
            (raw / path).parent.mkdir(exist_ok=True)
            (raw / path).write_bytes(IMAGES[63])

    candidates = found(raw)

    assert expected.items() <= candidates.items()
    assert list(candidates) == sorted(candidates)


def test_names_of_tars() -> None:
    shards = {
        "a-000.tar": "a",
        "a-001.tar": "a",
        "train.tar": "train",
        "part7.tar": "part",
        "b-00001-of-00002.tar": "b",
    }
    classes = {
        "n01440764.tar": "n01440764",
        "boeing-737.tar": "boeing-737",
        "boeing-747.TAR": "boeing-747",
        "9.tar": "9",
    }
    every = {**shards, **classes}
    assert folder_names((name, True) for name in every) == every
    assert folder_names((name, False) for name in shards)["a-000.tar"] == "a-000"


def test_numbered_tars_of_images_alone_are_classes_only_where_params_say_so(raw: Path) -> None:
    for prefix in ("data-", ""):
        for number in range(2):
            write_tar(raw / f"{prefix}{number:03d}.tar", flat(8 * number))
        with pytest.raises(
            DatasetError, match=r"taken for shards of one whole.*`-S \+\+datasets\.mine\.layout=classes`"
        ):
            found(raw)
        assert found(raw, layout="classes")[f"{prefix}001.tar/8.png"] == ("", f"{prefix}001")
        for path in raw.iterdir():
            path.unlink()


def test_the_manifest_says_where_images_lie_and_no_tree_is_made(raw: Path, tmp_path: Path) -> None:
    write_tar(raw / "photos.tar", folders("a", "b"))
    run_link(tmp_path, split=ALL_TRAIN)

    manifest = read_manifest(tmp_path / "interim" / NAME / "train.csv")
    data = (raw / "photos.tar").read_bytes()
    for row in manifest.rows:
        offset, size = row.span or (0, 0)
        assert data[offset : offset + size] == folders("a", "b")[row.path.removeprefix("photos.tar/")]
    assert not (tmp_path / "interim" / NAME / "train").exists()


def test_only_what_is_new_in_a_tar_is_decoded(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def watched(root: str, files: list) -> list:
        results = verify_files(root, files)
        decoded.extend(file.path for file, result in zip(files, results, strict=True) if len(result) > 3)
        return results

    monkeypatch.setattr("formwork.datasets.verify.verify_files", watched)
    tar = write_tar(raw / "photos.tar", folders("a", "b"))
    os.utime(tar, (10**9, 10**9))
    run_link(tmp_path, split=ALL_TRAIN)
    assert len(decoded) == 16
    before = outs(tmp_path)
    run_link(tmp_path, split=ALL_TRAIN)
    assert (len(decoded), outs(tmp_path)) == (16, before)

    write_tar(tar, {"a/new.png": IMAGES[40]}, mode="a")
    run_link(tmp_path, split=ALL_TRAIN)
    assert decoded[16:] == ["photos.tar/a/new.png"]
    data = bytearray(tar.read_bytes())
    place = data.index(IMAGES[3])
    data[place : place + len(IMAGES[3])] = bytes(len(IMAGES[3]))
    tar.write_bytes(data)
    with pytest.raises(DatasetError, match=r"photos\.tar/a/3\.png: none of"):
        run_link(tmp_path, split=ALL_TRAIN)


def test_samples_of_webdataset(raw: Path, tmp_path: Path) -> None:
    write_tar(raw / "x-000.tar", samples(json=b'{"group": "one", "label": "no", "url": "u"}', txt=b"a caption"))
    write_tar(raw / "x-001.tar", samples(8))
    run_link(tmp_path, split=ALL_TRAIN)
    labels = all_rows(tmp_path)
    assert labels["x-000.tar/3.png"] == ("1", 1)
    assert labels["x-001.tar/8.png"] == ("0", 0)
    groups = [
        row.group
        for split in ("train", "val")
        for row in read_manifest(tmp_path / "interim" / NAME / f"{split}.csv").rows
    ]
    assert sorted(groups) == [""] * 8 + ["one"] * 8

    (raw / "labels.csv").write_text("path,label\n" + "".join(f"{n},{'cd'[n > 7]}\n" for n in range(16)))
    run_link(tmp_path, split=ALL_TRAIN)
    assert all_rows(tmp_path)["x-001.tar/8.png"] == ("d", 1)  # a table counts, and finds images by their keys


@pytest.mark.parametrize("name", ["{}-000.tar", "{}/000.tar", "of/imagenet1k-{}-0000.tar"])
def test_splits_of_samples_are_those_of_their_tars(raw: Path, tmp_path: Path, name: str) -> None:
    write_tar(raw / name.format("train"), samples())
    write_tar(raw / name.format("validation"), samples(8))
    run_link(tmp_path)
    assert all(path.startswith(name.format("train")) for path in rows(tmp_path, "train"))
    assert len(rows(tmp_path, "val")) == 8


def test_what_is_wrong_with_samples_is_found(raw: Path, tmp_path: Path) -> None:
    files = samples(number=20)
    del files["3.cls"], files["4.png"]
    write_tar(raw / "x-000.tar", {**files, "5.cls": b""})
    run_link(tmp_path, split=ALL_TRAIN, on_bad_image="skip")
    assert report(tmp_path) == {"x-000.tar/3.png": "no label", "x-000.tar/4": "no file", "x-000.tar/5.png": "no label"}

    write_tar(raw / "x-000.tar", {**samples(), "0.jpg": IMAGES[0]})
    with pytest.raises(DatasetError, match=r'x-000\.tar: 0\.png and 0\.jpg have the same key, 0.*"\*\.jpg"'):
        run_link(tmp_path)
    assert found(raw, ignore=["*.jpg"])
    write_tar(raw / "x-000.tar", {"0.png": IMAGES[0], "0.json": b"[1]"})
    with pytest.raises(DatasetError, match=r"x-000\.tar/0\.json is no JSON object"):
        run_link(tmp_path)


def test_what_is_left_out_is_said_by_its_path_in_the_tar(raw: Path, tmp_path: Path) -> None:
    odd = {"a/._0.png": b"x", "__MACOSX/a/1": b"x", "README.md": b"x", "../up.png": b"x", "b/0_mask.png": b"x"}
    write_tar(raw / "x.tar", {**folders("a", "b"), **odd})

    run_link(tmp_path, split=ALL_TRAIN, ignore=["*_mask.png", "/x.tar/b/9.png"])

    assert report(tmp_path) == {
        "x.tar/a/._0.png": "system file",
        "x.tar/__MACOSX/": "system file",
        "x.tar/README.md": "other file",
        "x.tar/../up.png": "outside its tar",
        "x.tar/b/0_mask.png": "ignored",
        "x.tar/b/9.png": "ignored",
    }


@pytest.mark.parametrize("content", ["cut", "empty", "garbage", "pipe", "gone"])
def test_a_damaged_tar_stops_or_is_used_as_far_as_it_can_be_read(raw: Path, tmp_path: Path, content: str) -> None:
    write_tar(raw / "a.tar", flat())
    write_tar(raw / "b.tar", flat(8))
    whole = write_tar(raw / "c.tar", flat(16)).read_bytes()
    (raw / "c.tar").unlink()
    if content == "pipe":
        os.mkfifo(raw / "c.tar")
    elif content == "gone":
        (raw / "c.tar").symlink_to("nowhere.tar")
    else:
        (raw / "c.tar").write_bytes({"cut": whole[:5000], "empty": b"", "garbage": b"garbage" * 300}[content])

    with pytest.raises(
        DatasetError, match=r"damaged tar +1 +stopped\n +c\.tar: it .*\n1 tar cannot be read to the end"
    ):
        run_link(tmp_path, split=ALL_TRAIN)

    run_link(tmp_path, split=ALL_TRAIN, on_bad_image="skip")
    assert report(tmp_path) == {"c.tar": "damaged tar"}
    assert len(all_rows(tmp_path)) == (21 if content == "cut" else 16)


def test_compressed_tars_are_refused_with_the_command_that_unpacks_them(raw: Path) -> None:
    tar = write_tar(raw / "a.tar", flat())
    for name, command in {
        "b.tar.gz": "gunzip .*b.tar.gz",
        "b.tar": "mv .*b.tar .*b.tar.gz && gunzip .*b.tar.gz",
    }.items():
        (raw / name).write_bytes(gzip.compress(tar.read_bytes()))
        with pytest.raises(DatasetError, match=rf"{name} is compressed: no image in it can be read.*`{command}`"):
            found(raw)
        (raw / name).unlink()
    tar.write_bytes(b"(\xb5/\xfd" + tar.read_bytes())
    with pytest.raises(DatasetError, match=r"a\.tar is compressed.*`mv .*a\.tar\.zst && unzstd --rm .*a\.tar\.zst`"):
        found(raw)


def test_archives_beside_loose_images_are_left_out(raw: Path) -> None:
    for path, content in folders("a", "b").items():
        (raw / path).parent.mkdir(exist_ok=True)
        (raw / path).write_bytes(content)
    write_tar(raw / "photos.tar", folders("a", "b"))
    write_tar(raw / "a.tar", flat())
    write_tar(raw / "notes.tar", {"notes.txt": b"text"})
    (raw / "x.tar.gz").write_bytes(gzip.compress(b"x"))

    files = find_files(raw)

    assert len(files.candidates) == 16
    assert [file.path for file in files.left_out] == ["a.tar", "notes.tar", "photos.tar", "x.tar.gz"]
    assert any("its images lie beside it" in note for note in files.notes)


def test_a_tar_of_another_dataset_that_lies_beside_is_no_archive(raw: Path) -> None:
    for path, content in folders("a", "b").items():
        (raw.parent / "photos" / path).parent.mkdir(parents=True, exist_ok=True)
        (raw.parent / "photos" / path).write_bytes(content)
    write_tar(raw / "photos.tar", {f"photos/{path}": content for path, content in folders("a", "b").items()})

    assert len(found(raw)) == 16


def test_links_in_a_tar(raw: Path, tmp_path: Path) -> None:
    write_tar(raw / "x.tar", folders("a", "b"))
    with tarfile.open(raw / "x.tar", "a") as tar:
        tar.addfile(member("a/hard.png", type=tarfile.LNKTYPE, linkname="a/0.png"))
        tar.addfile(member("a/soft.png", type=tarfile.SYMTYPE, linkname="1.png"))
        tar.addfile(member("a/gone.png", type=tarfile.SYMTYPE, linkname="/etc/1.png"))

    run_link(tmp_path, split=ALL_TRAIN, on_bad_image="skip")

    kinds = report(tmp_path)
    assert kinds["x.tar/a/gone.png"] == "broken symlink"
    assert {"x.tar/a/hard.png", "x.tar/a/soft.png"} <= all_rows(tmp_path).keys()


def test_a_tar_that_changes_during_the_run_stops_it(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tar = write_tar(raw / "x.tar", folders("a", "b"))

    def changed(root: str, files: list) -> list:
        write_tar(tar, {"a/late.png": IMAGES[60]}, mode="a")
        return verify_files(root, files)

    monkeypatch.setattr("formwork.datasets.verify.verify_files", changed)
    with pytest.raises(DatasetError, match=r"x\.tar changed while its images were verified"):
        run_link(tmp_path, split=ALL_TRAIN)
