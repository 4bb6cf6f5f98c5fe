"""Layouts of raw datasets: which folders are splits, which are classes, and where link stops and says what to type."""

import itertools
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from formwork.datasets.candidates import RawFiles, find_files
from formwork.datasets.folder_names import role, split_name
from formwork.errors import DatasetError


def lay_out(raw: Path, *paths: str) -> Path:
    """Make files; of a path that ends in a folder, two images in it. "{a,b}/c" stands for a/c and b/c."""
    for pattern in paths:
        parts = [re.split(",", part[1:-1]) if part.startswith("{") else [part] for part in pattern.split("/")]
        for path in map("/".join, itertools.product(*parts)):
            for name in ["0.png", "1.png"] if path.endswith("/") else [""]:
                file = raw / path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
    return raw


def look(raw: Path, *paths: str, **options: object) -> RawFiles:
    return find_files(lay_out(raw, *paths), **options)


def message(raw: Path, *paths: str, **options: object) -> str:
    with pytest.raises(DatasetError) as error:
        look(raw, *paths, **options)
    return str(error.value)


def classes(found: RawFiles) -> set[str]:
    return {candidate.class_name for candidate in found.candidates}


def splits(found: RawFiles) -> dict[str, str]:
    """The split by top folder."""
    return {candidate.path.partition("/")[0]: candidate.split for candidate in found.candidates}


# --- Splits in any spelling -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("Training", "Testing"),
        ("TRAIN", "VAL"),
        ("Train", "valid"),
        ("train_set", "test_set"),
        ("trainset", "testset"),
        ("train-images", "val-images"),
        ("train2017", "val2017"),
        ("train_data", "validation_data"),
        ("trn", "tst"),
        ("tr", "te"),
        ("training", "dev"),
        ("Train Set", "Eval Set"),
        ("01_train", "02_test"),
        ("images_train", "images_val"),
        ("TrainImages", "TestImages"),
        ("trainval", "test"),
        ("seg_train", "seg_test"),
        ("ILSVRC2012_img_train", "ILSVRC2012_img_val"),
        ("train", "holdout"),
    ],
)
def test_splits_are_known_in_any_spelling(tmp_path: Path, train: str, val: str) -> None:
    found = look(tmp_path, f"{{{train},{val}}}/{{cat,dog}}/")

    other = "test" if val.strip("0123_").lower().startswith("te") or "tst" in val or "_test" in val else "val"
    assert splits(found) == {train: "train", val: other}
    assert classes(found) == {"cat", "dog"}
    assert len(found.candidates) == 8
    (note,) = found.notes
    assert f"{tmp_path}/{train}/ as train" in note
    assert f"{tmp_path}/{val}/ as {other}" in note


def test_three_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    found = look(tmp_path, "{Train,valid,test}/{cat,dog}/")

    assert splits(found) == {"Train": "train", "valid": "val", "test": "test"}


@pytest.mark.parametrize(
    "name",
    ["plane", "train_station", "freight_train", "retrain", "valley", "contest", "devil", "invalid", "latest", "trail"],
)
def test_words_that_only_resemble_splits_are_none(name: str) -> None:
    found = split_name(name)
    assert found is None or found.rest


def test_splits_may_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    found = look(tmp_path, "data/{Train,Test}/{cat,dog}/", "data/readme.txt")

    assert {(c.split, c.path) for c in found.candidates if c.class_name == "cat"} == {
        ("train", "data/Train/cat/0.png"),
        ("train", "data/Train/cat/1.png"),
        ("test", "data/Test/cat/0.png"),
        ("test", "data/Test/cat/1.png"),
    }


def test_each_split_may_have_its_classes_in_a_folder_of_its_name(tmp_path: Path) -> None:
    found = look(tmp_path, "training_set/training_set/{cat,dog}/", "test_set/test_set/{cat,dog}/")

    assert splits(found) == {"training_set": "train", "test_set": "test"}
    assert classes(found) == {"cat", "dog"}
    assert f"The class folders are those in {tmp_path}/test_set/test_set/" in "\n".join(found.notes)


@pytest.mark.parametrize("inner", ["photos", "images", "dataset/JPEGImages"])
def test_classes_may_lie_in_a_folder_of_their_own(tmp_path: Path, inner: str) -> None:
    found = look(tmp_path, f"{inner}/{{cat,dog}}/", "README.md")

    assert {c.path for c in found.candidates if c.class_name == "cat"} == {f"{inner}/cat/0.png", f"{inner}/cat/1.png"}
    assert classes(found) == {"cat", "dog"}
    assert found.notes == [f"The class folders are those in {tmp_path}/{inner}/: {tmp_path} holds no other folder."]


# --- Sound datasets whose classes are called so -----------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["left", "right"],
        ["valid", "invalid"],
        ["control", "Training"],
        ["freight_train", "bullet_train", "bus"],
        ["bus_train", "eye_test"],
        ["mask", "no_mask"],
        ["with_mask", "without_mask"],
        ["image", "button", "label", "checkbox"],
        ["dev", "ops"],
        ["tr", "de", "en"],
        ["photo", "sketch"],
        ["1", "2", "10"],
    ],
)
def test_classes_that_are_called_so_are_classes(tmp_path: Path, names: list[str]) -> None:
    assert classes(look(tmp_path, f"{{{','.join(names)}}}/")) == set(names)


@pytest.mark.parametrize(
    "paths",
    [
        ["{cat,dog}/images/", "{cat,dog}/boxes.txt"],  # as in Tiny ImageNet
        ["{cat,dog}/images/", "{cat,dog}/annotations/0.xml"],
        ["{cat,dog}/", "cat/annotations/0.xml"],
        ["cat/{2019,2020}/", "dog/2021/"],
        ["cat/{a,b}/", "dog/"],
    ],
)
def test_images_may_lie_deeper_in_a_class(tmp_path: Path, paths: list[str]) -> None:
    found = look(tmp_path, *paths)
    assert classes(found) == {"cat", "dog"}
    assert all(c.path.endswith(".png") for c in found.candidates)


def test_each_top_folder_is_a_class_where_params_say_so(tmp_path: Path) -> None:
    lay_out(tmp_path, "{benign,malignant}/{40X,100X}/", "{train,images,masks}/")

    found = find_files(tmp_path, layout="classes")

    assert classes(found) == {"benign", "malignant", "train", "images", "masks"}
    assert len(found.candidates) == 14


def test_each_folder_of_a_split_is_a_class_where_params_say_so(tmp_path: Path) -> None:
    assert "Test is a class all the same: `-S ++datasets.photos.layout=splits`." in message(
        tmp_path / "photos", "{Train,Test}/{benign,malignant}/{40X,100X}/"
    )

    found = look(tmp_path / "photos", "{Train,Test}/{images,masks}/", layout="splits")

    assert classes(found) == {"benign", "malignant", "images", "masks"}
    assert splits(found) == {"Train": "train", "Test": "test"}
    assert "mixes split folders" in message(tmp_path / "photos", "cat/", layout="splits")
    assert "all the same: `layout: classes` in datasets.my.x of params.yaml." in message(tmp_path / "my.x", "{img,gt}/")


# --- What is no dataset of classes --------------------------------------------------------------------


STOPS: dict[str, tuple[list[str], list[str]]] = {
    "images and masks": (["{images,masks}/"], ["{raw} holds images, masks", "segmentation", "layout=classes`"]),
    "images and annotations": (["images/", "annotations/a.xml"], ["{raw} holds annotations, images"]),
    "img and gt": (["{img,gt}/"], ["{raw} holds gt, img"]),
    "Pascal VOC": (
        [
            "VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,SegmentationObject}/",
            "VOCdevkit/VOC2012/Annotations/0.xml",
            "VOCdevkit/VOC2012/ImageSets/Main/train.txt",
        ],
        ["{raw}/VOCdevkit/VOC2012 holds Annotations, ImageSets, JPEGImages"],
    ),
    "YOLO": (["images/{train,val}/", "labels/{train,val}/0.txt"], ["{raw} holds images, labels"]),
    "YOLO by split": (["{train,valid}/images/", "{train,valid}/labels/0.txt"], ["{raw}/train holds images, labels"]),
    "COCO": (
        ["{train2017,val2017}/", "annotations/instances_train2017.json"],
        ["names reserved for splits (train2017, val2017), and train2017, val2017 hold files and no class folders"],
    ),
    "masks of each class": (
        ["{flu,normal}/{images,masks}/"],
        ["{raw}/flu holds images beside masks", "`-S 'data.ignore=[masks/]'`"],
    ),
    "masks beside the images of a class": (["{flu,normal}/", "flu/masks/"], ["{raw}/flu holds images beside masks"]),
    "train masks": (
        ["{train,test}/{cat,dog}/", "train_masks/"],
        ["mixes split folders (test, train) with others (train_masks)", "`-S 'data.ignore=[/train_masks/]'`"],
    ),
    "GTSRB": (
        ["Train/{0,1}/", "{Meta,Test}/", "Train.csv"],
        ["mixes split folders (Test, Train)", "`-S 'data.ignore=[/Meta/, /Test/]'`"],
    ),
    "data and labels": (["{data,labels}/"], ["{raw} holds data, labels"]),
    "parts of the same classes in a split": (
        ["{train,val}/{day,night}/{cat,dog}/"],
        ["{raw}/train (day, night) hold the same folders (cat, dog), which look like the classes. If they are parts"],
    ),
    "images of splits without classes": (
        ["{train,test}/", "train.csv"],
        ["reserved for splits (test, train), and test, train hold files and no class folders", "train.csv"],
    ),
    "unlabelled test images": (
        ["train/{cat,dog}/", "test/"],
        ["test holds files and no class folders", "`-S 'data.ignore=[/test/]'`"],
    ),
    "CycleGAN": (
        ["{trainA,trainB,testA,testB}/"],
        ["named after splits (testA, testB, trainA, trainB)", "mkdir -p {raw}/test && mv {raw}/testA {raw}/test/a"],
    ),
    "split in the name of each class": (
        ["{cat_train,dog_train,cat_test,dog_test}/"],
        ["mkdir -p {raw}/train && mv {raw}/cat_train {raw}/train/cat"],
    ),
    "splits in each class": (
        ["{cat,dog}/{train,test}/"],
        ["{raw}/cat holds folders named after splits (test, train)", "mv {raw}/cat/test {raw}/test/cat"],
    ),
    "parts that hold the same classes": (
        ["{day,night}/{cat,dog}/"],
        [
            "{raw} (day, night)",
            "hold the same folders (cat, dog)",
            "mv {raw}/day {raw}/train",
        ],
    ),
    "folds": (["{fold1,fold2,fold3}/{cat,dog,fox}/", "extra/"], ["hold the same folders (cat, dog, fox)"]),
    "a third folder beside such splits": (
        ["{seg_train,seg_test}/{cat,dog}/", "seg_pred/"],
        ["mixes split folders (seg_test, seg_train) with others (seg_pred)"],
    ),
    "a class called train": (
        ["{train,plane,car}/"],
        ["train is reserved as the name of a split", "`mv {raw}/train {raw}/train_class`", "layout=classes`"],
    ),
    "a class called Val": (["{Val,plane}/"], ["Val is reserved", "`mv {raw}/Val {raw}/Val_class`"]),
    "one split twice": (["{train,training,val}/{cat,dog}/"], ["{raw}/train and {raw}/training are both"]),
    "train alone": (
        ["Train/{cat,dog}/"],
        ["{raw} has Train/ and no folder for the val split", "`mv {raw}/Train/* {raw}/ && rmdir {raw}/Train`"],
    ),
    "loose images": (["a.png", "b.jpg", "a.xlsx"], ["2 images lie loose there", "save it as {raw}/labels.csv"]),
    "all images in one folder": (
        ["images/", "t.csv"],
        ["All 2 images lie in one folder", "`mv {raw}/t.csv {raw}/labels.csv`"],
    ),
    "an archive": (["photos.zip"], ["holds no class folders, but photos.zip: unpack it there"]),
    "names in two Unicode forms": (
        ["caf\u00e9/", "cafe\u0301/"],
        [r"names look the same: 'cafe\u0301' and 'caf\xe9'"],
    ),
    "a name with a space at its end": (["cat/", "cat /"], ["names look the same: 'cat' and 'cat '"]),
    "splits in two Unicode forms": (
        ["{train,val}/dog/", "train/caf\u00e9/", "val/cafe\u0301/"],
        ["the splits have different classes", r"'cafe\u0301' and 'caf\xe9' look the same"],
    ),
}


@pytest.mark.parametrize(("paths", "expected"), STOPS.values(), ids=STOPS)
def test_what_is_not_plainly_classes_stops_with_what_to_type(
    tmp_path: Path, paths: list[str], expected: list[str]
) -> None:
    said = message(tmp_path, *paths)

    for part in expected:
        assert part.replace("{raw}", str(tmp_path)) in said


@pytest.mark.parametrize("name", ["splits in each class", "parts that hold the same classes", "a class called train"])
def test_the_commands_of_a_message_mend_the_dataset(tmp_path: Path, name: str) -> None:
    said = message(tmp_path, *STOPS[name][0])
    commands = re.findall(r"^  (mkdir .*|mv .*)$", said, re.MULTILINE) + re.findall(r"`(mv [^`]*)`", said)

    subprocess.run(["sh", "-ec", "\n".join(commands)], check=True)

    if name == "splits in each class":  # "and so on"
        for split, target in [("train", "train"), ("test", "test")]:
            (tmp_path / "dog" / split).rename(tmp_path / target / "dog")
        (tmp_path / "cat").rmdir()
        (tmp_path / "dog").rmdir()
    assert len(classes(find_files(tmp_path))) >= 2


def test_the_setting_of_a_message_mends_the_dataset_and_keeps_earlier_patterns(tmp_path: Path) -> None:
    said = message(tmp_path, "{train,valid}/{cat,dog}/", "scans/", "[old] set/", ignore=["\\[old] set/"])
    (option,) = re.findall(r"`-S ('data\.ignore=[^`]*')`", said)
    (argument,) = shlex.split(option)
    assert argument == r'data.ignore=["\[old] set/", /scans/]'

    found = find_files(tmp_path, ignore=[r"\[old] set/", "/scans/"])

    assert splits(found) == {"train": "train", "valid": "val"}
    assert [(file.path, file.kind) for file in found.left_out] == [("[old] set/", "ignored"), ("scans/", "ignored")]


def test_the_command_of_a_message_makes_a_table_of_labels_of_another_table(tmp_path: Path) -> None:
    lay_out(tmp_path, "images/")
    (tmp_path / "train.csv").write_text("file,label\n0.png,cat\n1.png,dog\n")
    (command,) = re.findall(r"`(mv [^`]*)`", message(tmp_path))

    subprocess.run(["sh", "-ec", command], check=True)

    assert {(c.class_name, c.path) for c in find_files(tmp_path).candidates} == {
        ("cat", "images/0.png"),
        ("dog", "images/1.png"),
    }


# --- What is left out -----------------------------------------------------------------------------------


LITTER = ["@eaDir/", "#recycle/", "$RECYCLE.BIN/", "System Volume Information/", ".Trash-1000/", "lost+found/", ".git/"]
LITTER += [".ipynb_checkpoints/", "__MACOSX/", ".AppleDouble/", ".snapshot/", "@Recycle/", "Thumbs.db", "THUMBS.DB"]
LITTER += ["desktop.ini", "Desktop.ini", ".DS_Store", "._a.png", ".nfs0001", "~$x.docx", "a.tmp", "b.png.part"]
LITTER += ["c.jpg.crdownload", "ehthumbs.db", "Icon\r", ".gitignore", "a.png~"]


@pytest.mark.parametrize("place", ["", "train/", "train/cat/", "train/cat/deeper/"])
def test_litter_is_passed_over_and_listed(tmp_path: Path, place: str) -> None:
    sound = look(tmp_path, "{train,val}/{cat,dog}/", "train/cat/deeper/")

    found = look(tmp_path, *(place + name for name in LITTER))

    assert list(found.candidates) == list(sound.candidates)
    assert {file.path for file in found.left_out} == {place + name for name in LITTER}
    assert {file.kind for file in found.left_out} == {"system file"}


def test_an_empty_folder_of_a_system_is_no_class(tmp_path: Path) -> None:
    (tmp_path / "@eaDir").mkdir()
    assert classes(look(tmp_path, "{cat,dog}/")) == {"cat", "dog"}


def test_what_lies_beside_the_classes_is_listed_by_kind(tmp_path: Path) -> None:
    found = look(tmp_path, "{cat,dog}/", "loose.JPG", "README", "notes.csv", "cat/notes.txt", ignore=["1.png", "/x"])

    assert {(file.path, file.kind) for file in found.left_out} == {
        ("README", "other file"),
        ("cat/1.png", "ignored"),
        ("cat/notes.txt", "other file"),
        ("dog/1.png", "ignored"),
        ("notes.csv", "other file"),
        ("loose.JPG", "outside classes"),
    }
    assert {c.path for c in found.candidates} == {"cat/0.png", "dog/0.png"}


def test_classes_that_differ_in_case_are_kept_with_a_warning(tmp_path: Path) -> None:
    found = look(tmp_path, "{a,A,b}/")

    assert classes(found) == {"a", "A", "b"}
    assert found.notes == [
        "WARNING: the classes A and a differ in case or dots at the end alone: macOS and Windows take them for "
        "one folder."
    ]


def test_names_in_messages_cannot_forge_lines_nor_steer_terminals(tmp_path: Path) -> None:
    said = message(tmp_path, "train/{cat,dog}/", "\x1b[31mred\nERROR: forged/")

    assert "\x1b" not in said
    assert "\n" not in said
    assert r"\x1b[31mred\x0aERROR: forged" in said


def test_pipes_are_listed_and_never_opened(tmp_path: Path) -> None:
    lay_out(tmp_path, "{cat,dog}/")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "cat/pipe.png")

    found = find_files(tmp_path)

    assert [(file.path, file.kind) for file in found.left_out] == [("pipe", "other file")]
    assert "cat/pipe.png" in {c.path for c in found.candidates}  # to be reported as a bad file


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("JPEGImages", "images"),
        ("imgs", "images"),
        ("train_images", "images"),
        ("SegmentationClass", "targets"),
        ("ground_truth", "targets"),
        ("labelTxt", "targets"),
        ("train_masks", "targets"),
        ("Annotations2", "targets"),
        ("no_mask", None),
        ("left", None),
        ("class", None),
    ],
)
def test_roles_of_folders(name: str, expected: str | None) -> None:
    assert role(name) == expected
