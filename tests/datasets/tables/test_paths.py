"""The file of each row: the one it names, or the only one that it can mean; else a finding or a message."""

from pathlib import Path

import pytest

from formwork.errors import DatasetError
from tests.datasets.tables.tables import make

MEANT = {  # cells: the file that is there
    "x\\a.png": "x/a.png",
    "./x//./a.png": "x/a.png",
    "y/../x/a.png": "x/a.png",
    " a.png ": "a.png",
    "RAW/x/a.png": "x/a.png",
    "RAW\\a.png": "a.png",
    "RAW/../mine/a.png": "a.png",
    "mine/a.png": "a.png",
    "A.PNG": "a.png",
    "a.png": "A.PNG",
    "ä.png": "a\u0308.png",
    "a\u0308.png": "ä.png",
    "b.png": "images/deep/b.png",
    "deep/b.png": "images/deep/b.png",
    "a": "a.jpeg",
    "train/a": "images/train/a.jpeg",
    "100%.png": "100%.png",
    "a%20b.png": "a b.png",
    "a%20c.png": "a%20c.png",
    "'%s'.png": "'%s'.png",
}


@pytest.mark.parametrize(("cell", "file"), MEANT.items(), ids=map(ascii, MEANT))
def test_a_path_is_taken_for_the_only_file_that_it_can_mean(tmp_path: Path, cell: str, file: str) -> None:
    dataset = make(tmp_path, [file, "z.png"]).write(f"path,label\n{cell},cat\nz.png,dog\n")

    assert dataset.labels() == {file: "cat", "z.png": "dog"}


def test_the_file_that_is_named_comes_before_all_others(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["a.png", "A.png", "x/a.png", " a.png", "a%20b.png", "a b.png"])
    dataset.write("path,label\na.png,1\nA.png,2\nx/a.png,3\n a.png,4\na%20b.png,5\na b.png,6\n")

    assert dataset.labels() == {
        "a.png": "1", "A.png": "2", "x/a.png": "3", " a.png": "4", "a%20b.png": "5", "a b.png": "6",
    }  # fmt: skip


def test_what_was_taken_for_what_is_said(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["images/a.png", "b.png"]).write("path,label\nb.png,1\na.png,2\n")

    assert dataset.shown(dataset.read().notes[-1]) == (
        "RAW/labels.csv, line 3: a.png is taken for images/a.png, the only file of that name, in another folder; so in "
        "1 row."
    )


STOPS = {
    "/home/me/a.png": "line 3: /home/me/a.png is a place outside RAW",
    "C:\\photos\\a.png": "line 3: C:\\photos\\a.png is a place outside RAW",
    "https://x.org/a.png": "line 3: https://x.org/a.png is a place outside RAW",
    "../a.png": "line 3: ../a.png leaves the dataset",
    "x/../../a.png": "line 3: x/../../a.png leaves the dataset",
    "q.png": "line 3: q.png may be any of x/q.png, y/q.png. Write the whole path.",
    "n.PNG": "line 3: n.PNG may be any of N.png, n.png. Write the whole path.",
}


@pytest.mark.parametrize(("cell", "said"), STOPS.items(), ids=STOPS)
def test_a_path_that_leaves_the_dataset_or_fits_several_files_stops_with_its_line(
    tmp_path: Path, cell: str, said: str
) -> None:
    dataset = make(tmp_path, ["z.png", "x/q.png", "y/q.png", "N.png", "n.png"])
    dataset.write(f"path,label\nz.png,dog\n{cell},cat\n")

    with pytest.raises(DatasetError) as raised:
        dataset.read()

    assert said in dataset.shown(str(raised.value))


def test_rows_without_a_file_and_files_without_a_row_are_listed(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["a.png", "b.png", "c.png", "notes.bin", "d.txt"])
    dataset.write('path,label\na.png,cat\n\n"gone\x1b[31m.png",dog\nb.png,dog\n,dog\nd.txt,dog\n')

    found = dataset.read()

    assert [(f.path, f.kind, dataset.shown(f.reason)) for f in found.rows] == [
        ("gone\x1b[31m.png", "no file", "RAW/labels.csv, line 4: there is no such file"),
        ("", "no file", "RAW/labels.csv, line 6: path is empty"),
        ("d.txt", "no file", "RAW/labels.csv, line 7: its name is none of an image"),
    ]
    assert [(f.path, f.kind) for f in found.left_out] == [
        ("c.png", "no row"),
        ("d.txt", "other file"),
        ("notes.bin", "other file"),
    ]


def test_rows_of_files_that_are_ignored_are_no_findings(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["a.png", "b.png", "test/c.png"])
    dataset.write("path,label\na.png,cat\ntest/c.png,dog\nb.png,dog\n")

    found = dataset.read(ignore=["/test/"])

    assert found.rows == []
    assert "1 row of files that data.ignore leaves out" in "\n".join(found.notes)


def test_a_table_of_other_images_stops_at_once(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"line 2: there is no image q\.png, nor one of any other row"):
        make(tmp_path).write("path,label\nq.png,cat\nr.png,dog\n").read()


def test_a_file_name_that_is_no_utf8_is_found_by_its_text(tmp_path: Path) -> None:
    dataset = make(tmp_path, ["b.png", "caf\udce9.png"]).write("path,label\nb.png,x\ncafé.png,y\n")

    assert dataset.labels() == {"b.png": "x", "caf\udce9.png": "y"}
