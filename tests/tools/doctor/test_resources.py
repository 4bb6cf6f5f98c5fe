"""Disk, memory and page cache: real files, and memory as small as a test wants it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from formwork import system
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.earlier_parts import keep
from formwork.images.manifest import read_manifest
from formwork.params import BetonParams, load_params
from formwork.text import format_bytes
from formwork.tools.doctor import resources
from formwork.tools.doctor.project import SPLITS, Project
from tests import permissions
from tests.make_images import make_dataset, make_manifest
from tests.test_system import drop, linux
from tests.tools.doctor.conftest import Patient

BETON = Path("data/processed/colours/train.beton")


# --- Page cache ---------------------------------------------------------------------------------


@linux
def test_betons_that_are_not_in_memory_are_a_note_where_it_is_felt(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in SPLITS:
        (patient / f"data/processed/colours/{split}.beton").read_bytes()
    assert patient.look("page cache").finding.startswith("all ")

    drop(patient / str(BETON))
    found = patient.look("page cache")
    assert found.verdict == "ok"
    assert "of the betons are in memory: the first epoch reads the rest from disk" in found.finding

    drop(patient / str(BETON))
    monkeypatch.setattr(resources, "SLOW_BYTES", 1)
    found = patient.look("page cache")
    assert found.verdict == "note"
    subprocess.run(found.commands[0], shell=True, check=True)
    assert system.cached_bytes(BETON) == BETON.stat().st_size


@pytest.mark.parametrize(
    ("fits", "ffcv", "words", "command"),
    [
        (True, {}, None, None),
        (True, {"os_cache": False}, "they would fit", "dvc exp run -S ffcv.os_cache=true"),
        (False, {}, "they do not fit; with ffcv.os_cache true", "dvc exp run -S ffcv.os_cache=false"),
        (False, {"os_cache": False}, None, None),
        (False, {"os_cache": False, "order": "random"}, "single images from all over", "-S ffcv.order=quasi_random"),
        (False, {"order": "random"}, "single images from all over", "-S ffcv.order=quasi_random"),
    ],
)
def test_order_and_caching_that_do_not_suit_the_size(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, fits: bool, ffcv: dict, words: str | None, command: str | None
) -> None:
    monkeypatch.setattr(system, "memory", lambda: (10**12, 10**11) if fits else (20_000, 10_000))
    patient.set_params(ffcv=ffcv)

    found = patient.look("caching")

    assert found.verdict == ("note" if words else "ok")
    assert not words or words in found.finding
    assert not command or command in found.commands[0]


def test_an_image_too_large_for_memory_is_named(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patient.look("memory").verdict == "ok"

    monkeypatch.setattr(system, "memory", lambda: (20_000, 10_000))
    found = patient.look("memory")
    assert found.verdict == "note"
    assert "the largest image is data/raw/colours/" in found.finding


def test_betons_in_parts_are_looked_at_like_others(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """All parts count, and a damaged one is named with what mends it."""
    patient.set_params(ffcv={"beton": {"part_mb": 0.01, "write_mode": "raw"}})
    params = load_params()
    for split in ("train", "val"):
        manifest = read_manifest(Path(f"data/interim/colours/{split}.csv"))
        beton = BETON.with_name(f"{split}.beton")
        write_beton(manifest, Path("data/raw/colours"), beton, params.ffcv.beton, 1)
    total = sum(path.stat().st_size for path in BETON.parent.glob("*.beton/part-*"))

    looked = patient.look_at_all("beton train", "page cache", "caching", "disk space")
    assert {result.verdict for result in looked.values()} == {"ok"}
    assert f"betons of {format_bytes(total)}, " in looked["caching"].finding
    keep(BETON)  # as `link` does; and then the run cache had what `convert` would make
    assert patient.look("disk space").commands == ("rm -r data/processed/colours/.train.parts",)
    monkeypatch.setattr(system, "cached_bytes", lambda path: 0)
    monkeypatch.setattr(resources, "SLOW_BYTES", 0)
    commands = patient.look("page cache").commands
    assert commands == tuple(f"cat data/processed/colours/{split}.beton/* > /dev/null" for split in ("train", "val"))

    part = open_beton(BETON).path_of(0)
    content = bytearray(part.read_bytes())
    content[int(open_beton(BETON).offsets[0])] ^= 1
    part.write_bytes(content)
    found = patient.look("beton train")
    assert found.verdict == "problem"
    assert [str(part) in command for command in found.commands] == [True, False, False]
    assert found.commands[1:] == ("dvc pull --force data/processed/colours/train.beton", "make repack")


# --- Disk ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"write_mode": "raw", "max_resolution": 40},
        {"write_mode": "jpg", "passthrough": False},
        {"write_mode": "jpg"},
        {},
    ],
)
def test_the_size_of_a_beton_is_estimated_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: dict) -> None:
    monkeypatch.chdir(tmp_path)
    raw = make_dataset(Path("data/raw/mine"), ["a", "b"], per_class=60, size=[(120, 90), (30, 40)], format="JPEG")
    make_dataset(raw, ["c"], per_class=60, size=(50, 50), content="noise")
    manifest = make_manifest(raw, Path("data/interim/mine/train.csv"))
    Path("params.yaml").write_text(f"data: {{name: mine}}\nffcv: {{beton: {params}}}\n")
    write_beton(manifest, raw, Path("train.beton"), BetonParams(**params), 1)

    with Project() as project:
        estimate = resources.estimate(project, "train")

    tables = len(manifest) * 100  # bytes: without them in both
    assert estimate == pytest.approx(os.path.getsize("train.beton") - tables, rel=0.3)


def test_betons_to_be_written_need_room(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patient.look("disk space").finding.startswith("the betons are there; ")

    patient.set_params(ffcv={"beton": {"write_mode": "raw", "smart_threshold": 3.0}})
    found = patient.look("disk space")
    assert found.verdict == "ok"
    images = sum(len(read_manifest(Path(f"data/interim/colours/{split}.csv"))) for split in SPLITS)
    assert f"about {images * 16 * 16 * 3 / 1000:.3g} kB of betons are to be written; " in found.finding

    def free(size: int) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - size, size))

    free(images * 16 * 16 * 3 + 1000)
    assert patient.look("disk space").verdict == "note"
    free(images * 16 * 16 * 3 - 1000)
    found = patient.look("disk space")
    assert found.verdict == "problem"
    assert found.finding.endswith("too little")


@pytest.fixture
def small_processed(patient: Patient) -> Iterator[Path]:
    """A disk of 32 kB in place of data/processed."""
    folder = patient / "data/processed"
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=32k", "tmpfs", folder]
    if not mount or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the permission to mount a tmpfs")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_small_disk_is_seen(patient: Patient, small_processed: Path) -> None:
    found = patient.look("disk space")
    assert found.verdict == "problem"
    assert f"free in {small_processed.relative_to(patient.path)}: too little" in found.finding


def test_a_folder_that_must_not_be_written_is_named(patient: Patient) -> None:
    assert patient.look("folders").verdict == "ok"

    folder = patient / "data/processed/colours"
    folder.chmod(0o555)
    with permissions.enforced():
        found = patient.look("folders")
    folder.chmod(0o755)

    assert found.verdict == "problem"
    assert "this user cannot write to data/processed/colours (Permission denied)" in found.finding
    subprocess.run(found.commands[0], shell=True, check=True)
