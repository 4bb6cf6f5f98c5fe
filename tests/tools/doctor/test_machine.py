"""Memory, page cache and disk: real files, and control groups and memory as small as a test wants them."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from formwork.conversion.write import write_beton
from formwork.images.manifest import read_manifest
from formwork.params import BetonParams
from formwork.tools.doctor import disk, machine, memory
from formwork.tools.doctor.project import SPLITS, Project
from tests import permissions
from tests.make_images import make_dataset, make_manifest
from tests.tools.doctor.conftest import Patient

BETON = Path("data/processed/colours/train.beton")

linux = pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux says so")


# --- What there is ------------------------------------------------------------------------------


@linux
@pytest.mark.parametrize("version", [1, 2])
def test_memory_and_cores_are_those_of_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    total, available = machine.memory()
    cores = machine.cores()
    assert 0 < available <= total
    assert 0 < cores <= os.cpu_count()

    lines = {1: "4:cpuset,memory:/jobs/mine\n1:cpu:/\n", 2: "0::/jobs/mine\n"}[version]
    (tmp_path / "cgroup").write_text(lines)
    monkeypatch.setattr(machine, "CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path)
    names = {1: ("memory/jobs/mine", "memory.limit_in_bytes"), 2: ("jobs/mine", "memory.max")}
    folder, name = names[version]
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / name).write_text("max\n" if version == 2 else f"{2**63 - 4096}\n")
    assert machine.memory()[0] == total

    (tmp_path / folder).parent.joinpath(name).write_text("1000000\n")  # of the group around it
    assert machine.memory() == (1_000_000, 1_000_000)
    (tmp_path / "jobs").mkdir(exist_ok=True)
    (tmp_path / "jobs/cpu.max").write_text("100000 100000\n")
    assert machine.cores() == (1 if version == 2 else cores)


# --- Page cache ---------------------------------------------------------------------------------


def drop(path: Path) -> None:
    """Take a file out of the page cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if machine.cached_bytes(path):
        pytest.skip("this file system keeps its files in memory")


@linux
def test_what_is_in_the_page_cache_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(5_000_001))
    assert machine.cached_bytes(path) == 5_000_001
    drop(path)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
        file.seek(1_000_000)
        file.read(10)
    assert 0 < machine.cached_bytes(path) < 2_000_000
    path.write_bytes(b"")
    assert machine.cached_bytes(path) == 0


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
    monkeypatch.setattr(memory, "SLOW_BYTES", 1)
    found = patient.look("page cache")
    assert found.verdict == "note"
    subprocess.run(found.commands[0], shell=True, check=True)
    assert machine.cached_bytes(BETON) == BETON.stat().st_size


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
    monkeypatch.setattr(machine, "memory", lambda: (10**12, 10**11) if fits else (20_000, 10_000))
    patient.set_params(ffcv=ffcv)

    found = patient.look("caching")

    assert found.verdict == ("note" if words else "ok")
    assert not words or words in found.finding
    assert not command or command in found.commands[0]


def test_an_image_too_large_for_memory_is_named(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patient.look("memory").verdict == "ok"

    monkeypatch.setattr(machine, "memory", lambda: (20_000, 10_000))
    found = patient.look("memory")
    assert found.verdict == "note"
    assert "the largest image is data/raw/colours/" in found.finding


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
        estimate = disk.estimate(project, "train")

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
