"""The link stage on datasets with a table: manifests, settings and findings; and the examples of docs/labels.md."""

import csv
import re
from pathlib import Path

import pytest
from PIL import Image

from formwork.errors import DatasetError
from formwork.images.manifest import read_manifest
from tests.datasets.linking import NAME, report, run_link
from tests.make_images import make_dataset
from tests.workspace import ROOT

HEADER = ["path", "bytes", "width", "height", "mode", "format", "sha256"]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Twelve images in one folder, 000.png to 011.png."""
    return make_dataset(tmp_path / "raw" / NAME, ["images"], per_class=12)


def manifest(data: Path, split: str) -> list[dict[str, str]]:
    with (data / "interim" / NAME / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def both(data: Path) -> dict[str, dict[str, str]]:
    return {row["path"]: row for split in ("train", "val") for row in manifest(data, split)}


def split(number: int) -> str:
    return "val" if number % 3 == 2 else "train"


def table(*columns: str, row: str) -> str:
    return "\n".join([",".join(("path", *columns)), *(row.replace("#", f"{i:03}") for i in range(12))])


def test_classes_of_a_table_stand_behind_what_a_beton_is_made_from(raw: Path, tmp_path: Path) -> None:
    lines = [f"images/{i:03}.png,{'dog' if i % 2 else 'cat'},{split(i)},g{i},{i / 2}" for i in range(12)]
    (raw / "labels.csv").write_text("\n".join(["path,label,split,group,weight", *lines]))

    settings = run_link(tmp_path)

    assert (settings.task, settings.class_names, settings.target_names) == ("classes", ["cat", "dog"], [])
    rows = both(tmp_path)
    assert list(rows["images/003.png"]) == [*HEADER, "class_name", "label", "group", "weight"]
    assert [rows["images/003.png"][name] for name in ("class_name", "label", "group", "weight")] == [
        "dog", "1", "g3", "1.5",
    ]  # fmt: skip
    assert [row["path"] for row in manifest(tmp_path, "val")] == [f"images/{i:03}.png" for i in (2, 5, 8, 11)]
    with Image.open(tmp_path / "interim" / NAME / "train/images/003.png") as image:
        assert image.size == (12, 10)


def test_a_changed_label_changes_no_image(raw: Path, tmp_path: Path) -> None:
    lines = [f"images/{i:03}.png,{'dog' if i % 2 else 'cat'},{split(i)}" for i in range(12)]
    (raw / "labels.csv").write_text("\n".join(["path,label,split", *lines]))
    run_link(tmp_path)
    digests = [(tmp_path / "interim" / NAME / f"{s}.images.json").read_bytes() for s in ("train", "val")]
    before = read_manifest(tmp_path / "interim" / NAME / "train.csv").digest

    (raw / "labels.csv").write_text("\n".join(["path,label,split", *lines]).replace("000.png,cat", "000.png,dog"))
    run_link(tmp_path)

    assert [(tmp_path / "interim" / NAME / f"{s}.images.json").read_bytes() for s in ("train", "val")] == digests
    assert read_manifest(tmp_path / "interim" / NAME / "train.csv").digest != before


def test_several_labels_and_targets_have_their_columns(raw: Path, tmp_path: Path) -> None:
    lines = [f"{i:03}.png,{'cat;' * (i % 2)}{'dog' * (i % 3 > 0)},{split(i)}" for i in range(12)]
    (raw / "labels.csv").write_text("\n".join(["path,labels,split", *lines]))
    settings = run_link(tmp_path)
    assert (settings.task, settings.class_names) == ("multilabel", ["cat", "dog"])
    assert {path: row["labels"] for path, row in both(tmp_path).items()}["images/001.png"] == "cat;dog"
    assert read_manifest(tmp_path / "interim" / NAME / "train.csv").rows[0].labels == ()
    assert report(tmp_path) == {"images/000.png": "no labels", "images/006.png": "no labels"}

    lines = [f"{i:03}.png,{i / 3!r},{-i},{split(i)}" for i in range(12)]
    (raw / "labels.csv").write_text("\n".join(["path,age,x y,split", *lines]))
    settings = run_link(tmp_path)
    assert (settings.task, settings.class_names, settings.target_names) == ("regression", [], ["age", "x y"])
    assert both(tmp_path)["images/004.png"]["target.age"] == repr(4 / 3)
    assert read_manifest(tmp_path / "interim" / NAME / "train.csv").targets[1].tolist() == [1 / 3, -1]


def test_bad_rows_stop_with_a_list_or_are_left_out(raw: Path, tmp_path: Path) -> None:
    lines = [f"images/{i:03}.png,{'dog' if i % 2 else 'cat'},{split(i)}" for i in range(9)]
    (raw / "labels.csv").write_text(
        "\n".join(["path,label,split", *lines, "images/009.png,,train", "gone.png,cat,val", "images/010.png,dog,tset"])
    )

    with pytest.raises(DatasetError) as raised:
        run_link(tmp_path)

    said = str(raised.value)
    assert f"    gone.png: {raw}/labels.csv, line 12: there is no such file" in said
    assert "3 rows of the table of labels cannot be used. Correct the table, or leave out" in said
    expected = {
        "gone.png": "no file",
        "images/009.png": "no label",
        "images/010.png": "unknown split",
        "images/011.png": "no row",
    }
    assert report(tmp_path) == expected
    run_link(tmp_path, on_bad_image="skip")
    assert sorted(both(tmp_path)) == [f"images/{i:03}.png" for i in range(9)]
    assert report(tmp_path) == expected


def test_one_class_is_nothing_to_tell_apart(raw: Path, tmp_path: Path) -> None:
    (raw / "labels.csv").write_text(table("label", row="images/#.png,cat"))

    with pytest.raises(DatasetError, match="has 1 class: there is nothing to tell apart"):
        run_link(tmp_path)


def test_a_group_of_classes_needs_classes(raw: Path, tmp_path: Path) -> None:
    (raw / "labels.csv").write_text(table("age", row="images/#.png,#.5"))

    with pytest.raises(DatasetError, match=r"data\.group in params\.yaml is 'pets', .* its task is regression"):
        run_link(tmp_path, {"groups": {"pets": ["cat"]}}, group="pets")


def test_a_group_keeps_what_the_table_says_of_its_classes(raw: Path, tmp_path: Path) -> None:
    lines = [f"images/{i:03}.png,{'abc'[i % 3]},{'val' if i > 5 else 'train'},{i}" for i in range(12)]
    (raw / "labels.csv").write_text("\n".join(["path,label,split,weight", *lines]))

    settings = run_link(tmp_path, {"groups": {"some": ["a", "c"]}}, group="some")

    assert settings.class_names == ["a", "c"]
    assert [(row["path"][7:10], row["label"], row["weight"]) for row in manifest(tmp_path, "train")] == [
        ("000", "0", "0.0"), ("002", "1", "2.0"), ("003", "0", "3.0"), ("005", "1", "5.0"),
    ]  # fmt: skip


def test_copies_with_other_labels_are_a_conflict(raw: Path, tmp_path: Path) -> None:
    (raw / "images/001.png").write_bytes((raw / "images/000.png").read_bytes())
    lines = [f"images/{i:03}.png,{i}.5,{split(i)}" for i in range(12)]
    (raw / "labels.csv").write_text("\n".join(["path,age,split", *lines]))

    run_link(tmp_path)

    assert report(tmp_path) == {"images/000.png": "label conflict", "images/001.png": "label conflict"}


def test_the_examples_of_the_page_are_read_as_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs/labels.md").read_text(encoding="utf-8")
    found = []
    for number, example in enumerate(re.findall(r"^```csv\n(.*?)^```", page, re.MULTILINE | re.DOTALL)):
        data = tmp_path / str(number)
        raw = make_dataset(data / "raw" / NAME, ["all"], per_class=4)
        rows = list(csv.reader(example.splitlines()))
        for place, (path, *_) in enumerate(rows[1:]):
            (raw / path).parent.mkdir(exist_ok=True)
            (raw / f"all/{place:03}.png").rename(raw / path)
        (raw / "labels.csv").write_text(example)
        settings = run_link(data, split={"val": 0.5, "test": 0.0})
        found.append((settings.task, settings.class_names or settings.target_names, len(both(data))))

    assert found == [
        ("classes", ["cat", "dog"], 3),
        ("multilabel", ["beach", "people", "sunset"], 3),
        ("regression", ["age", "height"], 2),
        ("classes", ["healthy", "ill"], 4),
    ]
