"""What a table says: which task, labels, targets, splits, groups and weights; and what is wrong with its rows."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from formwork.datasets.candidates import RawFiles
from formwork.datasets.policy import Policy
from formwork.datasets.splits import FREE
from formwork.errors import DatasetError
from formwork.images.manifest import SPLITS
from tests.datasets.tables.tables import FILES, PLAIN, Dataset, labels_of, make

FOLDERS = ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")


def findings(dataset: Dataset, found: RawFiles) -> list[tuple[str, str, str]]:
    return [(f.path, f.kind, dataset.shown(f.reason).removeprefix("RAW/labels.csv, ")) for f in found.rows]


# --- Which task -----------------------------------------------------------------------------------


TASKS = {
    "label": (PLAIN, "classes"),
    "whole numbers": ("path,label\na.png,3\nb.png,10\n", "classes"),
    "labels": ("path,labels\na.png,cat;dog\nb.png,dog\n", "multilabel"),
    "tags": ("path,tags\na.png,cat\nb.png,dog\n", "multilabel"),
    "one number": ("path,age\na.png,1.5\nb.png,20\n", "regression"),
    "numbers": ("path,x,y\na.png,1,2\nb.png,0,1\n", "regression"),
    "fractions": ("path,label\na.png,1.5\nb.png,2\n", "regression"),
    "a one in each row": ("path,cat,dog\na.png,1,0\nb.png,0,1\n", "classes"),
    "ones and zeros": ("path,cat,dog\na.png,1,1\nb.png,0,0\n", "multilabel"),
}


@pytest.mark.parametrize(("table", "task"), TASKS.values(), ids=TASKS)
def test_the_task_is_what_the_table_plainly_says(tmp_path: Path, table: str, task: str) -> None:
    assert make(tmp_path).write(table).read().candidates.columns.task == task


UNCLEAR = {
    "one column of ones and zeros": ("path,ill\na.png,1\nb.png,0\n", "`columns: {label: ill}`", "`task: regression`"),
    "label and labels": ("path,label,labels\na.png,x,x;y\n", "`task: classes`", "`task: multilabel`"),
    "no labels": ("path,breed\na.png,x\n", "Its other columns: breed.", "`columns: {label: ...}`"),
    "an unknown task": ("path,label\na.png,x\n", "no column of numbers", "`columns: {targets: ...}`"),
}


@pytest.mark.parametrize(("table", "first", "second"), UNCLEAR.values(), ids=UNCLEAR)
def test_what_is_not_plain_is_one_message_with_what_to_type(
    tmp_path: Path, table: str, first: str, second: str
) -> None:
    task = {"task": "regression"} if "targets" in second else {}
    with pytest.raises(DatasetError) as raised:
        make(tmp_path).write(table).read(**task)

    assert first in str(raised.value)
    assert second in str(raised.value)


def test_params_name_the_columns_and_the_task(tmp_path: Path) -> None:
    dataset = make(tmp_path).write("id,breed,ill,x\na,pug,1,2\nb,lab,0,3\nc,pug,1,4\nd,lab,1,5\n")

    assert dataset.labels(columns={"label": "Breed"}) == {
        "a.png": "pug",
        "b.png": "lab",
        "c.png": "pug",
        "d.png": "lab",
    }
    assert dataset.labels(columns={"label": "ill"})["b.png"] == "0"
    assert dataset.read(columns={"targets": ["x"]}).candidates.columns.target_names == ("x",)
    assert dataset.read(task="regression").candidates.columns.target_names == ("ill", "x")
    both = make(tmp_path).write("path,label,tags\na.png,x,u;v\nb.png,y,v\n", "labels.csv")
    assert both.labels(columns={"label": "label"}) == {"a.png": "x", "b.png": "y"}
    assert both.labels(columns={"labels": "tags"}) == {"a.png": "u;v", "b.png": "v"}
    dataset.write("id,breed,ill,x\na,pug,1,2\n")
    with pytest.raises(DatasetError, match=r"columns\.label in params\.yaml is a list: name one column"):
        dataset.read(columns={"label": ["breed", "ill"]})
    with pytest.raises(DatasetError, match=r"datasets\.mine\.columns\.label in params\.yaml is 'bred', .*'breed'"):
        dataset.read(columns={"label": "bred"})


# --- Classes --------------------------------------------------------------------------------------


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    assert make(tmp_path).write("path,label\na.png,10\nb.png,9\nc.png,2\n").read().candidates.class_names == [
        "2", "9", "10",
    ]  # fmt: skip


def test_numbers_of_which_most_images_have_their_own_may_be_classes_or_not(tmp_path: Path) -> None:
    dataset = make(tmp_path, [f"{i}.png" for i in range(30)])
    dataset.write("path,label\n" + "".join(f"{i}.png,{i // 2 + i % 2 * 40}\n" for i in range(30)))

    with pytest.raises(DatasetError, match=r"not plain whether they are classes\. .*: classes`.*: regression`"):
        dataset.read()
    assert len(dataset.read(task="classes").candidates.class_names) == 30


def test_whole_numbers_that_pandas_made_fractions_are_whole(tmp_path: Path) -> None:
    found = make(tmp_path / "text").write("path,label\na.png,10.0\nb.png,\nc.png,2.0\n").read()
    assert found.candidates.class_names == ["2", "10"]
    dataset = make(tmp_path).write(pa.table({"path": FILES[:3], "label": [1.0, None, 2.0]}), "labels.parquet")

    assert dataset.labels() == {"a.png": "1", "c.png": "2"}
    assert [(f.path, f.kind) for f in dataset.read().rows] == [("b.png", "no label")]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("cat", "Cat", "line 3: the label 'Cat' looks like 'cat' in RAW/labels.csv, line 2. Write both"),
        ("\xe4", "a\u0308", r"line 3: the label 'a\u0308' looks like '\xe4' in RAW/labels.csv, line 2"),
        ("old cat", "old  cat", "line 3: the label 'old  cat' looks like 'old cat'"),
        ("1", "01", "line 3: the label '01' looks like '1'"),
    ],
)
def test_classes_that_look_the_same_stop_with_both_lines(tmp_path: Path, first: str, second: str, said: str) -> None:
    dataset = make(tmp_path).write(f"path,label\na.png,{first}\nb.png,{second}\nc.png,{first}\n")

    with pytest.raises(DatasetError) as raised:
        dataset.read()

    assert said in dataset.shown(str(raised.value))


def test_a_table_may_give_images_in_class_folders_other_labels(tmp_path: Path) -> None:
    dataset = make(tmp_path, FOLDERS).write("path,label\ncat/1.png,x\ncat/2.png,y\ndog/1.png,x\ndog/2.png,y\n")

    assert dataset.labels() == dict(zip(FOLDERS, "xyxy", strict=True))


def test_a_table_may_say_the_splits_of_class_folders_alone(tmp_path: Path) -> None:
    dataset = make(tmp_path, FOLDERS).write(
        "path,split,weight\ncat/1.png,train,2\ndog/1.png,val,1\ndog/2.png,train,1\n"
    )

    found = dataset.read()

    assert [(c.path, c.split, c.class_name) for c in found.candidates] == [
        ("cat/1.png", "train", "cat"),
        ("dog/1.png", "val", "dog"),
        ("dog/2.png", "train", "dog"),
    ]
    assert not found.candidates.columns.from_table
    assert [(f.path, f.kind) for f in found.left_out] == [("cat/2.png", "no row")]
    dataset.write("path,age\ncat/1.png,2\ndog/1.png,3\n")
    with pytest.raises(DatasetError, match=r"has numbers \(age\), and the folders are classes\. .*`task: regression`"):
        dataset.read()


# --- Several labels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("path,labels\na.png, cat;dog;\nb.png,dog\nc.png,\n", "labels.csv"),
        ("path;labels\na.png;cat|dog\nb.png;dog\nc.png;\n", "labels.csv"),
        ('path,labels\na.png,"dog, cat"\nb.png,dog\nc.png,\n', "labels.csv"),
        ('path,labels\na.png,"[""cat"", ""dog""]"\nb.png,"[\'dog\']"\nc.png,[]\n', "labels.csv"),
        ('{"path":"a.png","labels":["dog","cat"]}\n{"path":"b.png","label":"dog","labels":["dog"]}\n{"path":"c.png"}\n',
         "labels.jsonl"),
        (pa.table({"path": FILES[:3], "labels": [["cat", "dog"], ["dog"], None]}), "labels.parquet"),
        ("path,label\na.png,cat\nb.png,dog\na.png,dog\nc.png,\n", "labels.csv"),
    ],
    ids=["semicolons", "bars", "commas", "JSON", "JSON lines", "Parquet", "a row each"],
)  # fmt: skip
def test_an_image_may_have_several_labels(tmp_path: Path, table: str | pa.Table, name: str) -> None:
    found = make(tmp_path).write(table, name).read(task="multilabel")

    assert labels_of(found.candidates) == {"a.png": "cat;dog", "b.png": "dog", "c.png": ""}
    assert [(f.path, f.kind, f.action(Policy("error", "report", "report"))) for f in found.rows] == [
        ("c.png", "no labels", "kept")
    ]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ('"[cat, dog"', "line 3: [cat, dog is no JSON list of labels"),
        ('"[""a;b""]"', "line 3: the label a;b holds a ;"),
        ("Cat;cow", "line 3: the label 'Cat' looks like 'cat'"),
    ],
)
def test_labels_that_cannot_be_read_stop_with_their_line(tmp_path: Path, cell: str, said: str) -> None:
    with pytest.raises(DatasetError) as raised:
        make(tmp_path).write(f"path,labels\na.png,cat;dog\nb.png,{cell}\nc.png,cat\n").read()

    assert said in str(raised.value)


# --- Targets, weights, splits, groups -------------------------------------------------------------


def test_targets_are_all_columns_of_numbers_but_counters(tmp_path: Path) -> None:
    found = (
        make(tmp_path)
        .write(',index,path,"x\n (cm)",remark,y\n0,0,a.png,1.5,old,-2\n1,1,b.png,2e3,,0\n')
        .read()
        .candidates
    )

    assert found.columns.target_names == ("x (cm)", "y")
    np.testing.assert_array_equal(found.targets, [[1.5, -2], [2000, 0]])


def test_a_comma_may_stand_in_a_number_where_it_separates_nothing(tmp_path: Path) -> None:
    found = make(tmp_path).write("path;x\na.png;1,5\nb.png;-0,25\nc.png;3\n").read().candidates

    np.testing.assert_array_equal(found.targets, [[1.5], [-0.25], [3]])


def test_targets_and_weights_that_are_no_numbers_are_findings(tmp_path: Path) -> None:
    dataset = make(tmp_path, [f"{i}.png" for i in range(9)]).write(
        "path,x,y,weight\n0.png,1,1,1\n1.png,,1,1\n2.png,nan,inf,1\n3.png,1,n/a,1\n"
        "4.png,1,1,-1\n5.png,1,1,NaN\n6.png,1,1,x\n7.png,1,1,0\n8.png,1e39,1,1\n"
    )

    found = dataset.read(columns={"targets": ["x", "y"]})

    assert findings(dataset, found) == [
        ("1.png", "bad target", "line 3: x is empty, no number to use"),
        ("2.png", "bad target", "line 4: x is nan, no number to use, y is inf, no number to use"),
        ("3.png", "bad target", "line 5: y is n/a, no number to use"),
        ("8.png", "bad target", "line 10: x is 1e39, no number to use"),
        ("4.png", "bad weight", "line 6: weight is -1, below 0"),
        ("5.png", "bad weight", "line 7: weight is NaN, no number to use"),
        ("6.png", "bad weight", "line 8: weight is x, no number to use"),
    ]
    assert found.candidates.paths == ["0.png", "7.png"]
    assert {f.action(Policy("error", "report", "report")) for f in found.rows} == {"stopped"}
    assert {f.action(Policy("skip", "report", "report")) for f in found.rows} == {"left out"}


def test_weights_that_are_all_zero_stop(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="all weights are 0"):
        make(tmp_path).write("path,label,weight\na.png,x,0\nb.png,y,0\n").read()


def test_splits_are_read_in_any_usual_spelling_and_unknown_ones_are_findings(tmp_path: Path) -> None:
    dataset = make(tmp_path, [f"{i}.png" for i in range(6)]).write(
        "path,label,split\n0.png,x,Training\n1.png,y,VALID\n2.png,x,test\n3.png,y,train\n4.png,x,foo\n5.png,y,\n"
    )

    found = dataset.read()

    assert [SPLITS[code] for code in found.candidates.splits] == ["train", "val", "test", "train"]
    assert findings(dataset, found) == [
        ("4.png", "unknown split", "line 6: split is foo, and not train, val, test"),
        ("5.png", "unknown split", "line 7: split is empty, and not train, val, test"),
    ]
    with pytest.raises(DatasetError, match=r"line 2: split names no split; it has a, b\."):
        dataset.write("path,label,split\n0.png,x,a\n1.png,y,b\n").read()


def test_splits_may_be_the_folders_that_images_lie_in(tmp_path: Path) -> None:
    files = [f"{split}/{i}.png" for split in ("train", "val") for i in (0, 1)]
    dataset = make(tmp_path, files).write("path,label\n" + "".join(f"{file},{file[-5]}\n" for file in files))

    assert [c.split for c in dataset.read().candidates] == ["train", "train", "val", "val"]


def test_images_that_are_all_in_train_are_shared_out(tmp_path: Path) -> None:
    files = [f"{split}/{i}.png" for split in ("train", "test") for i in (0, 1, 2)]
    dataset = make(tmp_path, files).write("path,label\n0.png,x\n1.png,y\n2.png,x\n".replace("\n", "\ntrain/", 3))
    assert set(dataset.read().candidates.splits.tolist()) == {FREE}

    dataset.write("path,label,split\ntrain/0.png,x,train\ntrain/1.png,y,train\n")
    assert set(dataset.read().candidates.splits.tolist()) == {FREE}


def test_groups_are_a_column_by_its_name_or_by_data_split(tmp_path: Path) -> None:
    dataset = make(tmp_path).write("path,label,group,patient\na.png,x,g,p\nb.png,y,nan,q\n")

    assert dataset.read().candidates.groups.to_pylist() == ["g", ""]
    assert dataset.read(group="patient").candidates.groups.to_pylist() == ["p", "q"]


def test_rows_of_the_same_file_count_once_or_contradict_each_other(tmp_path: Path) -> None:
    dataset = make(tmp_path).write("path,label,weight\na.png,x,1\n./a.png,x,1\nb.png,x,1\nB.png,y,2\nc.png,y,1\n")

    found = dataset.read()

    assert labels_of(found.candidates) == {"a.png": "x", "c.png": "y"}
    assert findings(dataset, found) == [
        ("a.png", "listed twice", "line 3: the same as in RAW/labels.csv, line 2"),
        ("b.png", "contradiction", "line 5: another label and weight than in RAW/labels.csv, line 4"),
        ("b.png", "contradiction", "line 4: another row of the same file is in RAW/labels.csv, line 5"),
    ]
