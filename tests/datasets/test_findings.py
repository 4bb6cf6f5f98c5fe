"""Bad images and duplicates: what link reports, and what it does about them."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import formwork
from formwork.errors import DatasetError
from tests.datasets.linking import NAME, OUTS, all_rows, report, rows, run_link
from tests.make_images import make_dataset

# --- Bad images ---------------------------------------------------------------------------------


def spoil(raw: Path) -> dict[str, str]:
    """Three kinds of bad file, and the kind of each."""
    (raw / "cat/000.png").write_bytes(b"")
    (raw / "a dog/003.png").write_text("no image")
    (raw / "Äffin/005.png").unlink()
    (raw / "Äffin/005.png").symlink_to("nowhere")
    return {"a dog/003.png": "not an image", "cat/000.png": "zero bytes", "Äffin/005.png": "broken symlink"}


def test_bad_images_stop_the_stage_with_a_list_of_all(raw: Path, tmp_path: Path) -> None:
    reasons = spoil(raw)

    with pytest.raises(DatasetError) as error:
        run_link(tmp_path)

    assert report(tmp_path) == reasons
    for path, kind in reasons.items():
        assert re.search(f"{kind} +1  stopped\n    {path}: ", str(error.value))
    assert f"3 of 36 files in {raw} cannot be used as images" in str(error.value)
    assert "-S data.on_bad_image=skip" in str(error.value)
    assert not any((tmp_path / "interim" / NAME / name).exists() for name in OUTS)


def test_bad_images_are_skipped_on_demand(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_link(tmp_path)
    before = all_rows(tmp_path)
    reasons = spoil(raw)

    run_link(tmp_path, on_bad_image="skip")

    assert report(tmp_path) == reasons
    assert "3 files are left out" in capsys.readouterr().out
    assert before.items() - (all_rows(tmp_path)).items() == {(path, before[path]) for path in reasons}


def test_of_many_bad_images_some_are_shown_and_all_are_reported(tmp_path: Path) -> None:
    raw = make_dataset(tmp_path / "raw" / NAME, per_class=30, size=(1, 1))
    for path in (raw / "cat").iterdir():
        path.write_bytes(b"")

    with pytest.raises(DatasetError, match=r"\.\.\. and 25 more\n(.*\n)*30 of 60 files"):
        run_link(tmp_path)

    assert len(report(tmp_path)) == 30


def test_bad_names_can_be_printed(raw: Path, tmp_path: Path) -> None:
    """From the command line, where output has an encoding."""
    (raw / os.fsdecode(b"cat/caf\xe9.png")).touch()
    (tmp_path / "params.yaml").write_text(f"data: {{name: {NAME}, on_bad_image: skip}}")
    script = Path(formwork.__file__).parents[1] / "link.py"

    done = subprocess.run(
        [sys.executable, script, f"raw/{NAME}", f"interim/{NAME}", "processed", "report.csv", "splits.csv"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert rb"cat/caf\udce9.png: the file is empty" in done.stdout
    assert b"cat/caf\xe9.png," in (tmp_path / "report.csv").read_bytes()


# --- Duplicates ---------------------------------------------------------------------------------


def copies(data: Path) -> Path:
    """Three equal images of cats in train and one in val, and a label conflict; with a wrong extension."""
    raw = data / "raw" / NAME
    make_dataset(raw / "train", per_class=5)
    make_dataset(raw / "val", per_class=4, seed=1)
    for name in ("train/cat/001.png", "train/cat/002.png", "val/cat/001.png"):
        (raw / name).write_bytes((raw / "train/cat/000.png").read_bytes())
    (raw / "train/dog/004.png").write_bytes((raw / "train/cat/004.png").read_bytes())
    (raw / "val/dog/000.png").rename(raw / "val/dog/000.JPG")
    return raw


FOUND = {
    "train/cat/000.png": "leakage",
    "train/cat/001.png": "leakage",
    "train/cat/002.png": "leakage",
    "train/cat/004.png": "label conflict",
    "train/dog/004.png": "label conflict",
    "val/dog/000.JPG": "wrong extension",
}


def test_duplicates_are_reported_and_kept(tmp_path: Path) -> None:
    copies(tmp_path)

    run_link(tmp_path)

    assert report(tmp_path) == FOUND
    assert len(rows(tmp_path, "train")) == 10


def test_duplicates_are_left_out_on_demand(tmp_path: Path) -> None:
    copies(tmp_path)

    run_link(tmp_path, on_duplicate="skip")

    assert report(tmp_path) == FOUND
    assert rows(tmp_path, "train").keys() == {"train/cat/003.png"} | {f"train/dog/00{i}.png" for i in range(4)}
    assert "val/cat/001.png" in rows(tmp_path, "val")


def test_duplicates_stop_the_stage_on_demand(tmp_path: Path) -> None:
    copies(tmp_path)

    with pytest.raises(DatasetError, match=r"5 of 18 files in .* have the bytes of another"):
        run_link(tmp_path, on_duplicate="error")

    assert report(tmp_path) == FOUND


# --- What is left out ---------------------------------------------------------------------------


def test_what_is_left_out_is_counted_in_a_line_and_listed(
    raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (raw / "@eaDir").mkdir()
    for name in ("Thumbs.db", "cat/._000.png", "notes.csv", "loose 1.png", "loose 2.JPG"):
        (raw / name).touch()

    run_link(tmp_path, ignore=["a dog/00[0-4].png"])

    assert capsys.readouterr().out.splitlines()[0] == (
        "Left out: 2 images in no class folder (loose 1.png, loose 2.JPG); 5 matches of data.ignore (a dog/000.png, "
        "a dog/001.png, a dog/002.png, ...); 1 other file (notes.csv); 3 hidden or system files (@eaDir/, Thumbs.db, "
        f"cat/._000.png). Listed in {tmp_path / 'report.csv'}."
    )
    assert report(tmp_path) == {
        "'@eaDir/": "system file",
        "Thumbs.db": "system file",
        **{f"a dog/00{number}.png": "ignored" for number in range(5)},
        "cat/._000.png": "system file",
        "notes.csv": "other file",
        "loose 1.png": "outside classes",
        "loose 2.JPG": "outside classes",
    }
    assert len(all_rows(tmp_path)) == 31


def test_of_very_many_files_the_report_has_the_first_of_each_kind(raw: Path, tmp_path: Path) -> None:
    for number in range(1010):
        (raw / f"cat/._{number:04}").touch()
    (raw / "notes.csv").touch()

    run_link(tmp_path)

    lines = (tmp_path / "report.csv").read_text().splitlines()
    assert lines[1] == "notes.csv,,,other file,,,left out"
    assert lines[2] == "cat/._0000,,,system file,,,left out"
    assert lines[-1] == ",,,system file,and 10 more,,left out"
    assert len(lines) == 2 + 1001


# --- Names ----------------------------------------------------------------------------------------

EVIL = ["=cmd()", "+1", "-x", "@x", "\x1b[31mred", "two\nlines", "\u202egnp", "<script>"]


def test_names_can_do_nothing_in_the_report_nor_on_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = make_dataset(tmp_path / "raw" / NAME, EVIL, per_class=6)
    for name in EVIL:
        (raw / name / f"{name}.png").write_bytes(b"")
    (raw / "\x1b[2J.png").touch()

    run_link(tmp_path, on_bad_image="skip")

    printed = capsys.readouterr().out
    text = (tmp_path / "report.csv").read_text(encoding="utf-8")
    for shown in (printed, text):
        assert not set(shown) & {"\x1b", "\u202e", "\r"}
        assert r"\x1b[2J.png" in shown
    assert r"two\x0alines/two\x0alines.png" in text
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as file:
        fields = [field for line in csv.reader(file) for field in line]
    assert not [field for field in fields if field.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'=cmd()/=cmd().png" in fields
    manifest = all_rows(tmp_path)
    assert {name for name, _ in manifest.values()} == set(EVIL)  # the manifest is exact
    assert {path.rpartition("/")[0] for path in manifest} == set(EVIL)
