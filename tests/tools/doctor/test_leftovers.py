"""What interrupted runs leave behind is told apart from what is at work."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from formwork.files import atomic_write
from formwork.training.resume import checkpoint_path
from tests.tools.doctor.conftest import Patient
from tests.training.conftest import folders_of, make_params

TEMPORARY = (
    "data/processed/colours/.train.beton.tmp",
    "data/interim/colours/.train.csv.tmp",
    "models/.best.pt.tmp",
    "models/.resume/run.tmp",
    "results/train/.metrics.json.tmp",
    "data/raw/.colours.partial",
)
RWLOCK = Path(".dvc/tmp/rwlock")


@pytest.mark.parametrize("name", TEMPORARY)
def test_what_a_killed_run_left_is_named_with_the_command_that_removes_it(patient: Patient, name: str) -> None:
    assert patient.look("temporary files").verdict == "ok"

    path = patient / name
    if path.suffix == ".tmp":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(5000))
    else:
        path.mkdir()
        (path / "file").write_bytes(bytes(5000))
    found = patient.look("temporary files")

    assert found.verdict == "note"
    assert f"left by a run that was killed: {name} (5 kB)" in found.finding
    subprocess.run(found.commands[0], shell=True, check=True)
    assert patient.look("temporary files").verdict == "ok"


def test_what_is_being_written_is_left_alone(patient: Patient) -> None:
    with atomic_write(Path("data/processed/colours/train.beton")) as file:
        file.write(b"half")
        found = patient.look("temporary files")
        assert found.finding == "being written at present: data/processed/colours/.train.beton.tmp"
        assert found.commands == ()


# --- DVC's locks --------------------------------------------------------------------------------


def hold(process: int, command: str) -> None:
    RWLOCK.parent.mkdir(parents=True, exist_ok=True)
    info = {"pid": process, "cmd": command}
    RWLOCK.write_text(json.dumps({"write": {"data/processed": info}, "read": {"data/interim": [info]}}))


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux says what a process is")
def test_locks_of_dvc(patient: Patient) -> None:
    assert patient.look("dvc locks").verdict == "ok"
    hold(ended_process(), "dvc repro")
    assert patient.look("dvc locks").verdict == "ok"  # DVC sees to these itself

    # The number of a process that was killed may be that of any other by now.
    with subprocess.Popen(["sh", "-c", "read line", "another"], stdin=subprocess.PIPE) as process:
        hold(process.pid, "dvc repro")
        found = patient.look("dvc locks")
    assert found.verdict == "problem"
    assert f"a lock of process {process.pid} (dvc repro), which is another one by now" in found.finding
    assert found.commands == (f"rm {RWLOCK}",)

    with subprocess.Popen(["sh", "-c", "read line", "dvc"], stdin=subprocess.PIPE) as process:
        hold(process.pid, "dvc repro")
        found = patient.look("dvc locks")
    assert found.verdict == "note"
    assert found.finding == f"dvc repro is at work, process {process.pid}: others must wait for it"

    RWLOCK.write_text("{")
    assert patient.look("dvc locks").verdict == "problem"


# --- Interrupted trainings ----------------------------------------------------------------------


def test_an_interrupted_training_goes_on_where_it_is_still_the_same(patient: Patient) -> None:
    assert patient.look("interrupted runs").verdict == "ok"

    checkpoint = checkpoint_path(Path("models/.resume"), make_params(), folders_of(patient.path))
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    found = patient.look("interrupted runs")
    assert found.verdict == "note"
    assert f"the next one goes on from {checkpoint}" in found.finding
    assert found.commands == ("dvc repro",)

    patient.set_params(seed=7)
    found = patient.look("interrupted runs")
    assert "1 interrupted training, whose params, data or code were others" in found.finding
    assert found.commands == (f"rm {checkpoint}",)

    Path("data/interim/colours/train.csv").unlink()
    assert "nothing can be told without manifests" in patient.look("interrupted runs").finding


def test_a_lock_is_looked_at_without_taking_it(patient: Patient) -> None:
    path = Path("data/processed/colours/.train.beton.tmp")
    with path.open("wb") as file:
        patient.look("temporary files")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # still to be had
