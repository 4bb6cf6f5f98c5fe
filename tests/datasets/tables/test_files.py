"""Tables as people and programs write them: encodings, separators, quotes; and one message where they are none."""

from pathlib import Path

import pyarrow as pa
import pytest

from formwork.errors import DatasetError
from tests.datasets.tables.tables import PLAIN, make

EXPECTED = {"a.png": "cat", "b.png": "dog", "c.png": "cat", "d.png": "dog"}
ROWS = [("a.png", "cat"), ("b.png", "dog"), ("c.png", "cat"), ("d.png", "dog")]
JSON = "".join(f'{{"file_name": "{path}", "label": "{label}"}}\n\n' for path, label in ROWS)

SPELLINGS = {
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + PLAIN.encode(), "labels.csv"),
    "UTF-16": (PLAIN.encode("utf-16"), "labels.csv"),
    "UTF-16 without a mark": (PLAIN.encode("utf-16-be"), "labels.csv"),
    "UTF-32": (PLAIN.encode("utf-32"), "labels.csv"),
    "semicolons and CRLF": (PLAIN.replace(",", ";").replace("\n", "\r\n"), "labels.csv"),
    "CR": (PLAIN.replace("\n", "\r"), "labels.csv"),
    "tabs": (PLAIN.replace(",", "\t"), "labels.tsv"),
    "commas in a .tsv": (PLAIN, "labels.tsv"),
    "bars": (PLAIN.replace(",", "|"), "labels.csv"),
    "Excel's line": ("sep=;\r\n" + PLAIN.replace(",", ";"), "labels.csv"),
    "quotes": ('"path","label"\n' + "".join(f'"{p}","{label}"\n' for p, label in ROWS), "labels.csv"),
    "spaces, case": (PLAIN.replace(",", " , ").replace("path", "File Name").replace("label", "LABEL"), "labels.csv"),
    "blank lines": ("\n\n" + PLAIN.replace("\n", "\n\n") + ",\n , \n", "labels.csv"),
    "no line feed at the end": (PLAIN.rstrip(), "labels.csv"),
    "an index of pandas": (",path,label\n" + "".join(f"{i},{p},{x}\n" for i, (p, x) in enumerate(ROWS)), "labels.csv"),
    "a column without a name at the end": ("path,label,\n" + "".join(f"{p},{x},\n" for p, x in ROWS), "labels.csv"),
    "another case of the name": (PLAIN, "Labels.CSV"),
    "JSON lines": (JSON, "metadata.jsonl"),
    "Parquet": (pa.table({"path": list(EXPECTED), "label": list(EXPECTED.values())}), "labels.parquet"),
    "a dictionary in Parquet": (
        pa.table({"image": list(EXPECTED), "class": pa.array(EXPECTED.values()).dictionary_encode()}),
        "metadata.parquet",
    ),
}


@pytest.mark.parametrize(("table", "name"), SPELLINGS.values(), ids=SPELLINGS)
def test_a_table_is_read_whatever_program_wrote_it(tmp_path: Path, table: str | bytes | pa.Table, name: str) -> None:
    assert make(tmp_path).write(table, name).labels() == EXPECTED


@pytest.mark.parametrize(
    ("encoding", "label", "said"), [("cp1252", "Kätzchen €", "Windows-1252"), ("latin-1", "K\x81tz\xe9", "Latin-1")]
)
def test_what_is_no_utf8_is_read_as_windows_writes_it_and_said(
    tmp_path: Path, encoding: str, label: str, said: str
) -> None:
    dataset = make(tmp_path).write(PLAIN.replace("dog", label).encode(encoding))

    assert dataset.labels()["b.png"] == label
    (note,) = (dataset.shown(note) for note in dataset.read().notes if "UTF-8" in note)
    assert note == f"RAW/labels.csv is no UTF-8 (line 3), and is read as {said}."


def test_quotes_hold_separators_quotes_and_line_feeds(tmp_path: Path) -> None:
    dataset = make(tmp_path).write('path,label\na.png,"ca""t, x"\n"b.png","two\nlines"\nc.png,5" disc\nd.png,"d"\n')

    assert dataset.labels() == {"a.png": 'ca"t, x', "b.png": "two\nlines", "c.png": '5" disc', "d.png": "d"}


FAULTS = {
    "a row too long": ('path,label\n"a.png","c\nat"\n\nb.png,dog,x\n', "RAW/labels.csv, line 5 has 3 cells, and the"),
    "a row too short": (
        "path,label,split\na.png,cat\n",
        "RAW/labels.csv, line 2 has 2 cells, and the first",
    ),
    "an open quote": ('path,label\na.png,cat\n"b.png,dog\nc.png,cat\n', "RAW/labels.csv, line 3 has 1 cell"),
    "a column twice": ("path,label,label\na.png,x,y\n", "RAW/labels.csv, line 1: two columns are called label."),
    "a column twice in another case": (
        "\npath,label,Label \na.png,x,y\n",
        "line 2: two columns are called label and",
    ),
    "no names": ("a.png,cat\nb.png,dog\n", "has no column `path`, or `file_name`"),
    "nothing": ("", "RAW/labels.csv is empty"),
    "no rows": ("path,label\n", "RAW/labels.csv has no rows."),
    "a zero byte": ("path,label\na.png,c\0t\n", "RAW/labels.csv, line 2: a zero byte"),
    "UTF-16 cut short": (b"\xff\xfep\0a", "RAW/labels.csv"),
}


@pytest.mark.parametrize(("table", "said"), FAULTS.values(), ids=FAULTS)
def test_what_is_no_table_is_one_message_with_file_and_line(tmp_path: Path, table: str | bytes, said: str) -> None:
    dataset = make(tmp_path).write(table)

    with pytest.raises(DatasetError) as raised:
        dataset.read()

    assert said in dataset.shown(str(raised.value))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('{"path": "a.png", "label": "x"}\n{"path": \n', "RAW/labels.jsonl, line 2 is no JSON"),
        ('["a.png", "x"]\n', "RAW/labels.jsonl, line 1 is no JSON object"),
        ('{"path": "a.png", "label": "x", "label": "y"}\n', "RAW/labels.jsonl, line 1 has 'label' twice"),
        ("\n", "RAW/labels.jsonl is empty"),
    ],
)
def test_so_are_json_lines_that_are_none(tmp_path: Path, lines: str, said: str) -> None:
    dataset = make(tmp_path).write(lines, "labels.jsonl")

    with pytest.raises(DatasetError) as raised:
        dataset.read()

    assert said in dataset.shown(str(raised.value))


def test_so_is_parquet_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels\.parquet cannot be read as Parquet: .*\. Write it anew\."):
        make(tmp_path).write(b"PAR1 not", "labels.parquet").read()


def test_of_two_tables_the_message_leaves_one_out(tmp_path: Path) -> None:
    dataset = make(tmp_path).write(PLAIN).write(PLAIN, "metadata.csv")

    with pytest.raises(DatasetError, match=r"-S 'data\.ignore=\[\"/metadata\.csv\"\]'"):
        dataset.read()

    assert dataset.labels(ignore=["/metadata.csv"]) == EXPECTED


def test_each_split_may_have_a_table_in_its_folder(tmp_path: Path) -> None:
    dataset = make(tmp_path, [f"{split}/{i}.png" for split in ("train", "Validation", "test") for i in (1, 2)])
    for split in ("train", "Validation", "test"):
        dataset.write("file_name,label\n1.png,x\n2.png,y\n", f"{split}/metadata.csv")

    found = dataset.read()

    assert {(c.path, c.split, c.class_name) for c in found.candidates} == {
        (f"{folder}/{i}.png", split, label)
        for folder, split in (("train", "train"), ("Validation", "val"), ("test", "test"))
        for i, label in ((1, "x"), (2, "y"))
    }
    assert found.left_out == []
