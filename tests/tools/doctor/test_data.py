"""Raw images, manifests and betons: what is sound is ok, what is not there yet a note, what is broken a problem."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from formwork.beton.read import open_beton
from formwork.images.manifest import read_manifest, write_manifest
from tests import permissions
from tests.beton.test_stock_ffcv import write_stock
from tests.tools.doctor.conftest import Patient

RAW, TRAIN, BETON = "data/raw/colours", "data/interim/colours/train.csv", "data/processed/colours/train.beton"


@pytest.mark.parametrize(
    "name",
    [
        *("params", "manifest train", "manifest val", "originals", "beton train", "beton val"),
    ],
)
def test_a_sound_project_is_ok(patient: Patient, name: str) -> None:
    assert patient.look(name).verdict == "ok"
    assert patient.look(name, full=True).verdict == "ok"


def test_files_that_dvc_cannot_hash_are_a_problem_also_in_folders_that_are_not_added_yet(patient: Patient) -> None:
    assert patient.look("raw files").verdict == "ok"
    other = patient / "data/raw/other/cat"
    other.mkdir(parents=True)
    (other / os.fsdecode(b"caf\xe9.png")).touch()

    found = patient.look("raw files")

    assert found.verdict == "problem"
    assert (
        r"DVC stops at 1 file in data/raw/other: data/raw/other/cat/caf\udce9.png (the name is no UTF-8)"
        in found.finding
    )
    assert found.commands == (r"mv -n $'data/raw/other/cat/caf\xe9.png' 'data/raw/other/cat/café.png'",)


NOT_MADE_YET = {
    "manifest train": "dvc repro link",
    "originals": None,
    "beton train": "dvc repro convert",
    "memory": None,
    "page cache": None,
    "caching": None,
    "disk space": None,
    "batches": None,
    "loader": None,
}


@pytest.mark.parametrize(("name", "command"), NOT_MADE_YET.items(), ids=NOT_MADE_YET)
def test_before_the_first_run_everything_is_a_note(patient: Patient, name: str, command: str | None) -> None:
    for folder in ("interim", "processed"):
        shutil.rmtree(patient / f"data/{folder}")

    found = patient.look(name)

    assert found.verdict == "note"
    assert found.commands == ((command,) if command else ())
    assert found.checked == (command is not None)


def unknown_key(patient: Patient) -> None:
    patient.set_params(data={"batch_sise": 16})


def unknown_source(patient: Patient) -> None:
    patient.set_params(data={"fetch": ["digitz"]})


def damaged_manifest(patient: Patient) -> None:
    (patient / TRAIN).write_text((patient / TRAIN).read_text() + "half a row")


def empty_manifest(patient: Patient) -> None:
    write_manifest(patient / TRAIN, [])


def missing_images(patient: Patient) -> None:
    for path in (patient / RAW / "red").iterdir():
        path.unlink()


def cut_short(patient: Patient) -> None:
    os.truncate(patient / BETON, 10_000)


def flipped_bit(patient: Patient) -> None:
    beton = open_beton(patient / BETON)
    with (patient / BETON).open("r+b") as file:
        file.seek(int(beton.offsets[7]) + 100)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def unreadable_beton(patient: Patient) -> None:
    (patient / BETON).chmod(0)


def other_manifest(patient: Patient) -> None:
    write_manifest(patient / TRAIN, read_manifest(patient / TRAIN).rows[1:])


def other_params(patient: Patient) -> None:
    patient.set_params(ffcv={"beton": {"jpeg_quality": 50}})


@pytest.mark.parametrize(
    ("name", "fault", "verdict", "words", "command"),
    [
        ("params", unknown_key, "problem", "data.batch_sise: unknown. Did you mean 'batch_size'?", None),
        ("params", unknown_source, "problem", "data.fetch lists 'digitz', which cannot be fetched.", None),
        ("beton train", unknown_key, "note", "not checked: params.yaml cannot be used", None),
        ("manifest train", damaged_manifest, "problem", f"{TRAIN} is damaged", "dvc checkout"),
        ("manifest train", empty_manifest, "problem", f"{TRAIN} lists no images", "dvc repro -f link"),
        ("originals", missing_images, "note", f"looked at are missing in {RAW}", "dvc repro"),
        ("beton train", cut_short, "problem", f"{BETON} is damaged or no beton", f"dvc pull --force {BETON}"),
        ("beton train", flipped_bit, "problem", "sample 7: it does not have the checksum", "chmod u+w"),
        ("beton train", unreadable_beton, "problem", "must not be read by this user", f"chmod 644 {BETON}"),
        ("beton train", other_manifest, "note", f"was made from another version of {TRAIN}", "dvc repro convert"),
        ("beton train", other_params, "note", "ffcv.beton.jpeg_quality was 90 and is 50", "dvc repro convert"),
    ],
)
def test_each_fault_is_named(
    patient: Patient, name: str, fault: Callable[[Patient], None], verdict: str, words: str, command: str | None
) -> None:
    fault(patient)

    with permissions.enforced():
        found = patient.look(name)

    assert found.verdict == verdict
    assert words in found.finding
    assert any(each.startswith(command) for each in found.commands) if command else not found.commands


def test_a_beton_is_checked_without_its_manifest(patient: Patient) -> None:
    """As where betons were pulled, and nothing else."""
    (patient / TRAIN).unlink()
    found = patient.look("beton train")
    assert found.verdict == "ok"
    assert f"looked at are sound; there is no {TRAIN} to go by" in found.finding

    flipped_bit(patient)
    assert patient.look("beton train").verdict == "problem"


def test_full_looks_at_every_sample(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    flipped_bit(patient)
    monkeypatch.setattr("formwork.tools.doctor.data.SAMPLES", 1)
    monkeypatch.setattr("formwork.tools.doctor.data.SAMPLE_BYTES", 1)

    assert patient.look("beton train").finding.startswith("1 of ")
    assert patient.look("beton train", full=True).verdict == "problem"


def test_a_beton_of_ffcvs_own_writer_does_not_say_what_it_was_made_from(patient: Patient) -> None:
    rows = read_manifest(patient / TRAIN).rows[:20]
    images = [np.full((20, 20, 3), number, np.uint8) for number in range(20)]
    write_stock(patient / BETON, images, "raw", 1, ["image", "label"])
    labels = open_beton(patient / BETON).labels.tolist()
    write_manifest(patient / TRAIN, [replace(row, label=label) for row, label in zip(rows, labels, strict=True)])

    found = patient.look("beton train")
    assert found.verdict == "note"
    assert "and no checksums: FFCV's own writer made it" in found.finding


# --- Raw images ---------------------------------------------------------------------------------


def test_images_that_dvc_does_not_know_are_a_note(patient: Patient) -> None:
    found = patient.look("raw images")
    assert found.verdict == "note"
    assert found.commands == (f"dvc add {RAW}", f"git add {RAW}.dvc")

    (patient / f"{RAW}.dvc").touch()
    assert patient.look("raw images").verdict == "ok"


def no_folder(patient: Patient) -> None:
    shutil.rmtree(patient / RAW)


def nothing_at_all(patient: Patient) -> None:
    shutil.rmtree(patient / "data")


def to_be_fetched(patient: Patient) -> None:
    patient.set_params(data={"name": "digits", "fetch": ["digits"]})


def to_be_pulled(patient: Patient) -> None:
    no_folder(patient)
    shutil.rmtree(patient / "data/processed")
    (patient / f"{RAW}.dvc").touch()


def betons_alone(patient: Patient) -> None:
    no_folder(patient)
    (patient / f"{RAW}.dvc").touch()


def manifests_alone(patient: Patient) -> None:
    no_folder(patient)
    shutil.rmtree(patient / "data/processed")


def link_to_nowhere(patient: Patient) -> None:
    no_folder(patient)
    (patient / RAW).symlink_to("/mnt/no such disk")


def one_class(patient: Patient) -> None:
    shutil.rmtree(patient / "data/interim")
    for name in ("red", "green"):
        shutil.rmtree(patient / RAW / name)


@pytest.mark.parametrize(
    ("fault", "verdict", "words", "command"),
    [
        (no_folder, "note", "enough to train with --allow-missing", "dvc exp run --allow-missing"),
        (betons_alone, "note", "enough to train with --allow-missing", "dvc exp run --allow-missing"),
        (manifests_alone, "problem", f"{RAW} is missing. Run `dvc pull", f"dvc pull {RAW}"),
        (nothing_at_all, "problem", f"{RAW} is missing. Run `dvc pull", f"dvc pull {RAW}"),
        (to_be_fetched, "note", "data/raw/digits is not there yet", "dvc repro"),
        (to_be_pulled, "note", f"{RAW}.dvc says what DVC has", f"dvc pull {RAW}.dvc"),
        (link_to_nowhere, "problem", "is a link to /mnt/no such disk, which is not there. Is it mounted?", None),
        (one_class, "problem", "holds one class only, 'blue'", None),
    ],
)
def test_raw_images_that_are_not_there_or_not_usable(
    patient: Patient, fault: Callable[[Patient], None], verdict: str, words: str, command: str | None
) -> None:
    fault(patient)

    found = patient.look("raw images")

    assert found.verdict == verdict
    assert words in found.finding
    assert found.commands[:1] == ((command,) if command else ())


def test_a_link_to_images_elsewhere_is_ok(patient: Patient) -> None:
    (patient / RAW).rename(patient / "elsewhere")
    (patient / RAW).symlink_to(patient / "elsewhere")

    found = patient.look("raw images")

    assert found.verdict == "ok"
    assert "a link" in found.finding
