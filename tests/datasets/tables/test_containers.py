"""Hugging Face datasets, on disk or as shards of Parquet: read in place by link."""

import csv
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from formwork.errors import DatasetError
from formwork.images.containers import read_image
from tests.datasets.linking import NAME, report, run_link
from tests.huggingface import images, labelled, save_to_disk, table, write_parquet
from tests.make_images import make_dataset

WITHOUT_TEST = {"val": 0.25, "test": 0.0}


def shards(raw: Path) -> None:
    write_parquet(raw / "data/train-00000-of-00002.parquet", labelled(8))
    write_parquet(raw / "data/train-00001-of-00002.parquet", labelled(8, seed=1))
    write_parquet(raw / "data/validation-00000-of-00001.parquet", labelled(4, seed=2))
    (raw / "README.md").write_text("# A dataset")


def on_disk(raw: Path) -> None:
    save_to_disk(raw / "train", labelled(16), shards=2)
    save_to_disk(raw / "validation", labelled(4, seed=2))
    (raw / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')


def by_folder(raw: Path) -> None:
    write_parquet(raw / "default/train/0000.parquet", labelled(16))
    write_parquet(raw / "default/validation/0000.parquet", labelled(4, seed=2))


def rows(data: Path, split: str) -> list[dict[str, str]]:
    with (data / "interim" / NAME / f"{split}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("write", [shards, on_disk, by_folder])
def test_images_and_labels_are_read_in_place(tmp_path: Path, write: Callable[[Path], None]) -> None:
    raw = tmp_path / "raw" / NAME
    raw.mkdir(parents=True)
    write(raw)
    before = sorted(path for path in raw.rglob("*"))

    settings = run_link(tmp_path)

    assert (settings.class_names, settings.splits) == (["cat", "dog"], ["train", "val"])
    train, val = rows(tmp_path, "train"), rows(tmp_path, "val")
    assert (len(train), len(val)) == (16, 4)
    assert [row["class_name"] for row in val] == ["dog", "cat"] * 2
    assert [read_image(raw, row["path"]) for row in val] == images(4, seed=2)
    assert sorted(path for path in raw.rglob("*")) == before
    assert not (tmp_path / "interim" / NAME / "train").exists()  # no links lead into a file


def test_one_dataset_without_splits_is_shared_out(tmp_path: Path) -> None:
    save_to_disk(tmp_path / "raw" / NAME, labelled(20), shards=2)

    assert run_link(tmp_path, split=WITHOUT_TEST).splits == ["train", "val"]
    assert len(rows(tmp_path, "train") + rows(tmp_path, "val")) == 20


def test_columns_beside_the_images_are_a_table(tmp_path: Path) -> None:
    raw = tmp_path / "raw" / NAME
    weights = pa.array([1.0, 2.0] * 6)
    tags = {"_type": "Sequence", "feature": {"_type": "ClassLabel", "names": ["red", "big"]}}
    labels = pa.array([[0, 1], [1], []] * 4, pa.list_(pa.int64()))
    write_parquet(raw / "train.parquet", table(images(12), {"tags": tags}, tags=labels, weight=weights))
    settings = run_link(tmp_path, split=WITHOUT_TEST)
    assert (settings.task, settings.class_names) == ("multilabel", ["big", "red"])
    found = {row["path"]: row for split in ("train", "val") for row in rows(tmp_path, split)}
    assert [found[f"train.parquet/0000000{i}"]["labels"] for i in range(3)] == ["big;red", "big", ""]
    assert found["train.parquet/00000001"]["weight"] == "2.0"

    write_parquet(raw / "train.parquet", pa.table({"img": images(12), "age": [i / 2 for i in range(12)]}))
    settings = run_link(tmp_path, split=WITHOUT_TEST)
    assert (settings.task, settings.target_names) == ("regression", ["age"])


def test_a_table_beside_containers_says_other_labels_and_leaves_their_splits(tmp_path: Path) -> None:
    raw = tmp_path / "raw" / NAME
    shards(raw)
    (raw / "assets").mkdir()
    (raw / "assets/card.png").write_bytes(images(1)[0])
    places = [(f"data/train-0000{n}-of-00002.parquet", 8) for n in range(2)]
    places.append(("data/validation-00000-of-00001.parquet", 4))
    lines = [f"{path}/{row:08},{'xy'[row % 2]}" for path, number in places for row in range(number)]
    (raw / "labels.csv").write_text("\n".join(["path,label", *lines[:-1]]))

    settings = run_link(tmp_path)

    assert (settings.class_names, settings.splits) == (["x", "y"], ["train", "val"])
    assert (len(rows(tmp_path, "train")), len(rows(tmp_path, "val"))) == (16, 3)
    assert report(tmp_path) == {"data/validation-00000-of-00001.parquet/00000003": "no row"}


def test_two_kinds_of_labels_are_named_and_one_is_chosen(tmp_path: Path) -> None:
    features = {name: {"_type": "ClassLabel", "names": ["a", "b"]} for name in ("fine_label", "coarse_label")}
    numbers = pa.array([0, 1] * 6)
    content = table(images(12), features, fine_label=numbers, coarse_label=numbers)
    write_parquet(tmp_path / "raw" / NAME / "train.parquet", content)

    with pytest.raises(DatasetError, match=r"Its other columns: fine_label, coarse_label\. .*\{label: \.\.\.\}"):
        run_link(tmp_path)
    settings = run_link(tmp_path, {"columns": {"label": "fine_label"}}, split=WITHOUT_TEST)

    assert settings.class_names == ["a", "b"]


def test_bad_images_and_labels_are_findings_like_all_others(tmp_path: Path) -> None:
    files = [*images(12), b"no image", None]
    labels = pa.array([0, 1] * 6 + [0, 1], pa.int64())
    names = {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    content = table(files, names, label=labels)
    content = content.set_column(1, "label", pa.array([-1, *labels.to_pylist()[1:]], pa.int64()))
    write_parquet(tmp_path / "raw" / NAME / "train.parquet", content)

    with pytest.raises(DatasetError, match="2 of 13 files"):
        run_link(tmp_path)

    assert report(tmp_path) == {
        "train.parquet/00000000": "no label",
        "train.parquet/00000012": "not an image",
        "train.parquet/00000013": "unreadable",
    }
    run_link(tmp_path, on_bad_image="skip", split=WITHOUT_TEST)
    assert len(rows(tmp_path, "train") + rows(tmp_path, "val")) == 11


def refuse(root: str, paths: list[str]) -> None:
    raise AssertionError(f"{paths} are read again")


def test_what_was_verified_is_known_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = tmp_path / "raw" / NAME
    write_parquet(raw / "train.parquet", labelled(12))
    os.utime(raw / "train.parquet", (1, 1))
    run_link(tmp_path, split=WITHOUT_TEST, num_workers=0)
    first = rows(tmp_path, "train")
    with monkeypatch.context() as patch:
        patch.setattr("formwork.datasets.verify.verify_files", refuse)
        run_link(tmp_path, split=WITHOUT_TEST, num_workers=0)
    assert rows(tmp_path, "train") == first

    write_parquet(raw / "train.parquet", labelled(12, seed=1))
    os.utime(raw / "train.parquet", (1, 1))
    run_link(tmp_path, split=WITHOUT_TEST, num_workers=0)

    assert rows(tmp_path, "train") != first


def test_what_cannot_be_read_is_one_message(tmp_path: Path) -> None:
    raw = tmp_path / "raw" / NAME
    write_parquet(raw / "a/train.parquet", labelled(4))
    write_parquet(raw / "b/train.parquet", labelled(4))
    with pytest.raises(DatasetError, match=r"holds several datasets, .* `-S 'data\.ignore=\[\"/b/\"\]'`"):
        run_link(tmp_path)

    (raw / "b/train.parquet").unlink()
    (raw / "a/train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DatasetError, match=r"a/train\.parquet: it is damaged: .*\. Write it anew\."):
        run_link(tmp_path)


def test_a_table_of_labels_in_parquet_is_no_container(tmp_path: Path) -> None:
    raw = make_dataset(tmp_path / "raw" / NAME, ["images"], per_class=8)
    names = [f"images/{i:03}.png" for i in range(8)]
    write_parquet(raw / "labels.parquet", pa.table({"path": names, "label": ["x", "y"] * 4}))

    assert run_link(tmp_path, split=WITHOUT_TEST).class_names == ["x", "y"]
