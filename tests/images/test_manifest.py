"""Manifests survive whatever a file may be called, and have one form."""

import hashlib
import os
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from formwork.errors import DatasetError
from formwork.formats import csv_text
from formwork.images.manifest import Manifest, read_manifest, write_manifest
from formwork.images.row import Columns, Row

HEADER = Columns().header
ROW = Row("cat/0.png", "cat", 3, 100, 12, 10, "RGB", "PNG", "0" * 64)

NAMES = [
    b"a b.png",
    b" .png ",
    b"it's.png",
    b'"quoted".png',
    b"a,b;c.png",
    b"a\nb.png",
    b"a\rb.png",
    b"a\r\nb.png",
    b"a\tb\\.png",
    b"=1+2.png",
    b"\xc3\xa4\xe2\x82\xac\xf0\x9f\x90\x88.png",
    b"e\xcc\x81.png",
    b"\xe2\x80\xa8\xc2\x85\x0b\x0c\x1c.png",
    b"caf\xe9\xff.png",
    b"\xef\xbb\xbf.png",
]
"""File names that are harder than they should be."""


def manifest(path: Path, names: list[str]) -> Manifest:
    return write_manifest(path, [replace(ROW, path=f"cat/{name}") for name in names])


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_survives(tmp_path: Path, name: bytes) -> None:
    written = manifest(tmp_path / "train.csv", [os.fsdecode(name), "other.png"])

    assert read_manifest(tmp_path / "train.csv").rows == written.rows
    assert os.fsencode(f"cat/{os.fsdecode(name)}") in [os.fsencode(row.path) for row in written.rows]


def test_rows_are_sorted_by_the_bytes_of_their_paths(tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in NAMES]
    paths = [tmp_path / "1.csv", tmp_path / "2.csv"]

    forward, backward = (manifest(path, order) for path, order in zip(paths, [names, names[::-1]], strict=True))

    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert forward.rows == backward.rows
    assert [row.path for row in forward.rows] == sorted((f"cat/{name}" for name in names), key=os.fsencode)


def test_the_form_is_plain_csv(tmp_path: Path) -> None:
    manifest(tmp_path / "train.csv", ["0.png"])

    assert (tmp_path / "train.csv").read_text() == (
        f"path,class_name,label,bytes,width,height,mode,format,sha256\ncat/0.png,cat,3,100,12,10,RGB,PNG,{'0' * 64}\n"
    )


def test_storage_order_is_a_shuffle_that_another_image_does_not_change(tmp_path: Path) -> None:
    names = [f"{number:02d}.png" for number in range(40)]
    few, many = (manifest(tmp_path / "train.csv", n) for n in (names, [*names, "015b.png"]))

    order = few.storage_order.tolist()
    paths = [[m.rows[i].path for i in m.storage_order if "b" not in m.rows[i].path] for m in (few, many)]

    assert sorted(order) == list(range(40))
    assert order != sorted(order)
    assert paths[0] == paths[1]
    assert few.labels.tolist() == [3] * 40
    assert few.labels.dtype == np.int64


# --- Columns of a table of labels ----------------------------------------------------------------

TABLES = {
    "classes": (Columns(from_table=True), replace(ROW, class_name="a dog, or so", label=1)),
    "multilabel": (Columns("multilabel", from_table=True), replace(ROW, class_name="", label=0, labels=("cat", "é"))),
    "no label": (Columns("multilabel", from_table=True), replace(ROW, class_name="", label=0)),
    "regression": (
        Columns("regression", from_table=True, target_names=("age", "height, in m")),
        replace(ROW, class_name="", label=0, targets=(0.1, -1e300)),
    ),
    "a weight and a group": (
        Columns("classes", groups=True, weights=True),
        replace(ROW, group="patient 1", weight=0.1),
    ),
    "all of them": (
        Columns("regression", True, ("age",), groups=True, weights=True),
        replace(ROW, class_name="", label=0, targets=(3.0,), group="", weight=2.0),
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_the_bytes_are_those_of_pythons_csv_module(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formwork.images.manifest.ROWS_AT_ONCE", 4)
    columns, row = TABLES[kind]
    rows = [replace(row, path=os.fsdecode(name), format=f'"{name[:2].hex()}') for name in sorted(NAMES)]

    write_manifest(tmp_path / "train.csv", reversed(rows), columns)

    expected = csv_text([columns.header, *map(columns.values, rows)])
    assert os.fsdecode((tmp_path / "train.csv").read_bytes()) == expected
    assert list(read_manifest(tmp_path / "train.csv").rows) == rows


@pytest.mark.parametrize("kind", TABLES)
def test_what_a_table_says_survives(tmp_path: Path, kind: str) -> None:
    columns, row = TABLES[kind]
    rows = [row, replace(row, path="dog/1.png")]

    written = write_manifest(tmp_path / "train.csv", rows, columns)

    assert written.columns == columns
    assert list(written.rows) == rows
    assert written.rows[-1] == rows[-1]


@pytest.mark.parametrize("kind", TABLES)
def test_the_digest_of_the_images_is_that_of_a_manifest_without_labels(tmp_path: Path, kind: str) -> None:
    columns, row = TABLES[kind]
    other = replace(row, labels=("ox",) * bool(row.labels), targets=(7.0,) * len(row.targets), weight=9.0)
    if columns.from_table:
        other = replace(other, class_name="ox" * bool(row.class_name), label=0)
    one, two, three = (
        write_manifest(tmp_path / f"{i}.csv", [changed], columns)
        for i, changed in enumerate([row, other, replace(row, sha256="1" * 64)])
    )

    assert one.images_digest == two.images_digest != three.images_digest
    lines = one.path.read_text().splitlines()
    if kind == "a weight and a group":
        plain = [line.rsplit(",", 2)[0] for line in lines]
        assert one.images_digest == hashlib.sha256("".join(f"{line}\n" for line in plain).encode()).hexdigest()


# --- Damage -------------------------------------------------------------------------------------


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"

    with pytest.raises(DatasetError, match=f"Manifest {path} is missing. Run `dvc pull {path}`, or `dvc repro link`"):
        read_manifest(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"path,label\n",
        b"\x00\xff\xfe",
        ",".join(HEADER).encode() + b",more\n",
        ",".join(HEADER).encode() + b"\ncat/0.png,cat\n",
        ",".join(HEADER).encode() + b"\n\n",
        ",".join(HEADER).encode() + b"\n" + ",".join(map(str, astuple(replace(ROW, label="one"))[:9])).encode(),
        ",".join(HEADER).encode() + b"\n" + ",".join(map(str, astuple(ROW)[:9])).encode() + b",more\n",
        ",".join(HEADER).encode() + b"\na\rb,cat,3,100,12,10,RGB,PNG,0\n",
        ",".join(HEADER).encode() + b'\n"' + b"x" * 200_000 + b'",cat,3,100,12,10,RGB,PNG,0\n',
    ],
)
def test_a_damaged_manifest_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.csv"
    path.write_bytes(content)

    with pytest.raises(DatasetError, match=f"{path} is .*Run `dvc "):
        read_manifest(path)


def test_a_folder_in_place_of_a_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"{tmp_path} cannot be read"):
        read_manifest(tmp_path)
