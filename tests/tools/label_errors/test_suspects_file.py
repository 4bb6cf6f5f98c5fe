"""The answers of several runs together, the list for people, and the tables that are corrected by it."""

import csv
from pathlib import Path

import numpy as np
import pytest

from formwork.errors import FormworkError
from formwork.evaluation.predictions_file import StoredPredictions
from formwork.images.row import Columns
from formwork.tools.diff.images import Images
from formwork.tools.label_errors.label_errors import find_suspects
from formwork.tools.label_errors.runs import collect
from formwork.tools.label_errors.suspects_file import write_corrected, write_suspects
from tests.tools.diff.states import images
from tests.tools.diff.test_flips import predictions

STATE = [("train", f"p/{n}.png", f"{n}", "cat" if n < 5 else "dog") for n in range(10)]


def run(contents: str, probabilities: list[list[float]]) -> StoredPredictions:
    made = predictions("classes", ("cat", "dog"), dict.fromkeys(contents, ("cat", "cat")))
    return StoredPredictions(
        made.task, made.names, made.contents, made.targets, made.predicted, np.array(probabilities)
    )


SURE, UNSURE = [0.9, 0.1], [0.1, 0.9]
RUNS = [run("01234", [SURE, SURE, SURE, UNSURE, SURE]), run("56789", [UNSURE] * 4 + [[0.8, 0.2]])]


@pytest.fixture
def table(tmp_path) -> Images:
    return images(tmp_path, STATE, Columns("classes", True))


def suspects_file(folder: Path, table: Images) -> Path:
    answers = collect(table, RUNS)
    write_suspects(folder / "suspects.csv", find_suspects(table, answers), answers, table)
    return folder / "suspects.csv"


def test_the_list_has_what_is_given_and_suggested(tmp_path, table):
    with suspects_file(tmp_path, table).open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["path"], row["label"], row["suggested"]) for row in rows] == [
        ("p/3.png", "cat", "dog"),
        ("p/9.png", "dog", "cat"),
    ]
    assert [(row["score"], row["confident"], row["split"]) for row in rows] == [
        ("0.8000", "yes", "train"),
        ("0.6000", "yes", "train"),
    ]


def test_several_answers_for_an_image_are_averaged(table):
    answers = collect(table, [*RUNS, run("0", [[0.5, 0.5]])])
    assert answers.answers[0] == pytest.approx([0.7, 0.3])
    assert answers.rows.tolist() == list(range(10))


def test_images_of_a_class_that_no_model_knows_are_left_out(tmp_path):
    state = [*STATE[:-1], ("train", "p/9.png", "9", "cow"), ("train", "p/new.png", "new", "cat")]
    assert collect(images(tmp_path, state), RUNS).rows.tolist() == list(range(9))


def test_runs_of_other_classes_are_refused(tmp_path, table):
    with pytest.raises(FormworkError, match="not all of the classes"):
        collect(table, [RUNS[0], predictions("classes", ("cat", "cow"), {"1": ("cat", "cat")})])
    with pytest.raises(FormworkError, match="not all of the classes"):
        collect(images(tmp_path, [("val", "a.png", "1", (1.0,))], Columns("regression", True, ("age",))), RUNS)


def test_a_table_is_corrected_and_all_else_in_it_stays(tmp_path, table):
    suspects = suspects_file(tmp_path, table)
    labels = tmp_path / "labels.csv"
    lines = [f'p\\{n}.png;"note; {n}";{"cat" if n < 5 else "dog"};train' for n in reversed(range(10))]
    labels.write_text("\ufefffile_name;note;label;split\n" + "\n".join(lines) + "\n")
    before = labels.read_text().splitlines()
    assert "2 labels corrected" in write_corrected(labels, suspects, table)
    after = labels.read_text().splitlines()
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        ('p\\9.png;"note; 9";dog;train', 'p\\9.png;"note; 9";cat;train'),
        ('p\\3.png;"note; 3";cat;train', 'p\\3.png;"note; 3";dog;train'),
    ]


def test_a_table_is_made_where_folders_were_classes(tmp_path, table):
    labels = tmp_path / "labels.csv"
    write_corrected(labels, suspects_file(tmp_path, table), table)
    assert labels.read_text().splitlines()[:5] == [
        "path,label",
        "p/0.png,cat",
        "p/1.png,cat",
        "p/2.png,cat",
        "p/3.png,dog",
    ]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("labels.csv", "path,label\np/1.png,cat\n", "no row for 2 images of .*suspects.csv, p/3.png for one"),
        ("labels.csv", "path,class\np/3.png,cat\n", "has no column label; it has path, class"),
        ("labels.csv", "path,label\np/3.png\n", "row 2, has 1 cells"),
        ("labels.csv", "", "has no column path"),
        ("labels.jsonl", "{}", "is no .csv"),
    ],
)
def test_a_table_that_cannot_be_corrected_stays_as_it_is(tmp_path, table, name, text, message):
    labels = tmp_path / name
    labels.write_text(text)
    with pytest.raises(FormworkError, match=message):
        write_corrected(labels, suspects_file(tmp_path, table), table)
    assert labels.read_text() == text


def test_a_suspect_without_a_suggestion_is_named(tmp_path, table):
    suspects = suspects_file(tmp_path, table)
    suspects.write_text(suspects.read_text().replace(",cat,dog,", ",cat,,"))
    with pytest.raises(FormworkError, match=r"row 2: nothing is suggested for p/3.png"):
        write_corrected(tmp_path / "labels.csv", suspects, table)


def test_labels_and_numbers_have_lists_and_tables_of_their_own(tmp_path):
    several = images(tmp_path, [("val", f"{n}.png", f"{n}", ("a",)) for n in range(3)], Columns("multilabel", True))
    run = predictions("multilabel", ("a", "b"), {f"{n}": ({"a"}, {"a"}) for n in range(3)})
    shares = np.array([[0.9, 0.1], [0.9, 0.2], [0.2, 0.9]])
    answers = collect(
        several, [StoredPredictions(run.task, run.names, run.contents, run.targets, run.predicted, shares)]
    )
    write_suspects(tmp_path / "suspects.csv", find_suspects(several, answers), answers, several)
    write_corrected(tmp_path / "labels.csv", tmp_path / "suspects.csv", several)
    assert (tmp_path / "labels.csv").read_text() == "path,labels\n0.png,a\n1.png,a\n2.png,b\n"

    ages = images(
        tmp_path, [("val", f"{n}.png", f"{n}", (n, 5.0)) for n in range(9)], Columns("regression", True, ("age", "x"))
    )
    found = {f"{n}": ((n, 5), (n + 0.1 * (-1) ** n, 5 + 0.1 * (-1) ** n)) for n in range(8)} | {"8": ((8, 5), (80, 5))}
    run = predictions("classes", ("age", "x"), dict.fromkeys(found, ("age", "age")))
    columns = (np.array([pair[side] for pair in found.values()], np.float64) for side in range(2))
    answers = collect(ages, [StoredPredictions("regression", ("age", "x"), run.contents, *columns, None)])
    write_suspects(tmp_path / "suspects.csv", find_suspects(ages, answers), answers, ages)
    write_corrected(tmp_path / "ages.csv", tmp_path / "suspects.csv", ages)
    lines = (tmp_path / "ages.csv").read_text().splitlines()
    assert lines[:2] == ["path,age,x", "0.png,0.0,5.0"]
    assert lines[-1] == "8.png,80.0,5.0"
