"""Python, packages, libraries and GPU, as they are here and with something broken."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from formwork.tools.doctor.children import Child
from formwork.tools.doctor.environment import judge_gpu
from formwork.tools.setup.environment import STAMP, stamp_of, write_stamp
from tests.tools.doctor.conftest import Patient
from tests.tools.setup.conftest import bare_machine, executable
from tests.workspace import ROOT

__all__ = ["bare_machine"]  # a fixture

CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
HANG = "import socket\nmine, other = socket.socketpair()\nmine.recv(1)\n"


# --- Python and packages ------------------------------------------------------------------------


@pytest.fixture
def venv(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .venv that is set up to the end, and whose Python seems to run this."""
    (patient / "requirements.txt").write_text(f"numpy=={version('numpy')}\n")
    venv = patient / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").touch()
    write_stamp(venv, stamp_of(patient.path, venv) | {"ffcv": "installed"})
    monkeypatch.setattr(sys, "prefix", str(venv))
    return venv


def test_a_venv_that_is_set_up_is_ok(patient: Patient, venv: Path) -> None:
    assert patient.look("python").verdict == "ok"


@pytest.mark.parametrize("fault", ["missing", "another", "interrupted", "other requirements"])
def test_another_python_than_that_of_the_venv_is_a_note(
    patient: Patient, venv: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if fault == "missing":
        shutil.rmtree(venv)
    elif fault == "another":
        monkeypatch.setattr(sys, "prefix", "/usr")
    elif fault == "interrupted":
        (venv / STAMP).unlink()
    else:
        (patient / "requirements.txt").write_text("numpy==1.0\n")

    found = patient.look("python")

    assert found.verdict == "note"
    assert found.commands == (". .venv/bin/activate" if fault == "another" else "make setup",)


def test_packages_of_the_right_versions_are_ok(patient: Patient) -> None:
    shutil.copy(ROOT / "requirements.txt", patient / "requirements.txt")
    assert patient.look("packages").verdict == "ok"


def test_packages_of_other_versions_and_missing_ones_are_named(patient: Patient) -> None:
    (patient / "requirements.txt").write_text(
        "# comment\nnumpy==1.0  # via us\nno-such-package==2.0\nno-such-either==1.0 ; python_version < '3'\n"
    )

    found = patient.look("packages")

    assert found.verdict == "note"
    assert f"numpy is {version('numpy')} instead of 1.0, no-such-package is missing" in found.finding
    assert "no-such-either" not in found.finding
    assert found.commands == ("make setup",)


def test_stages_that_cannot_start_are_named(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert patient.look("imports").verdict == "ok"

    monkeypatch.setitem(sys.modules, "formwork.evaluation.evaluate", None)
    found = patient.look("imports")

    assert found.verdict == "problem"
    assert found.finding.startswith("cannot start: evaluate (ModuleNotFoundError: ")


# --- FFCV ---------------------------------------------------------------------------------------


def test_ffcv_is_found(patient: Patient) -> None:
    assert patient.look("ffcv").finding == "ffcv 1.0.2 is there"


@contextmanager
def other_module(patient: Patient, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> Iterator[Patient]:
    """The project where Python finds another module of this name first."""
    (patient / "modules").mkdir()
    (patient / f"modules/{name}.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(patient / "modules"))
    with closing(Child("libraries", ("torch", "ffcv"))) as libraries:
        yield Patient(patient.path, libraries)


def test_ffcv_that_cannot_be_imported(patient: Patient, monkeypatch: pytest.MonkeyPatch, bare_machine: Path) -> None:
    broken = "raise ImportError('libopencv_core.so: cannot open shared object file')"
    with other_module(patient, monkeypatch, "ffcv", broken) as other:
        found = other.look("ffcv")
        assert found.verdict == "note"
        assert found.finding == (
            "ffcv cannot be imported (libopencv_core.so: cannot open shared object file), nor built: "
            "libopencv-core-dev libopencv-imgproc-dev libturbojpeg0-dev, as Debian names them, are missing; "
            "only operations ffcv.* need it, and there are none"
        )
        managers = [command.split(" install ")[0] for command in found.commands]
        assert managers == ["sudo apt-get", "sudo dnf", "brew", "conda", "make setup"]

        assert other.look("loader").verdict == "ok"

        executable(bare_machine / "pkg-config", "exit 0")
        assert other.look("ffcv").commands == ("make setup",)

        other.set_params(augment={"train": [{"ffcv.Cutout": {"crop_size": 2}}]})
        found = other.look("ffcv")
        assert found.verdict == "problem"
        assert found.finding.endswith(", and augment names ffcv.Cutout")
        assert other.look("gpu").verdict != "problem"


def test_a_build_that_failed_is_tried_again_by_its_own_command(
    patient: Patient, venv: Path, monkeypatch: pytest.MonkeyPatch, bare_machine: Path
) -> None:
    executable(bare_machine / "pkg-config", "exit 0")
    (patient / "requirements.txt").write_text(f"numpy=={version('numpy')}\nffcv==9.9\n")
    write_stamp(venv, stamp_of(patient.path, venv) | {"ffcv": "failed"})
    with other_module(patient, monkeypatch, "ffcv", "raise ImportError('no such module')") as other:
        assert other.look("ffcv").commands == ("python3 src/install.py --ffcv",)
        assert other.look("packages").verdict == "ok"


def test_torch_for_the_cpu_needs_no_packages_of_cuda(patient: Patient, venv: Path) -> None:
    (patient / "requirements.txt").write_text(f"numpy=={version('numpy')}\nnvidia-no-such-package==1.0\n")
    assert "nvidia-no-such-package is missing" in patient.look("packages").finding
    write_stamp(venv, stamp_of(patient.path, venv) | {"ffcv": "installed", "torch": "cpu"})
    assert patient.look("packages").verdict == "ok"


@pytest.mark.parametrize(
    ("script", "reason"), [(CRASH, "ended by SIGSEGV"), (HANG, "no answer within 0.2 s")], ids=["crashes", "hangs"]
)
def test_a_library_that_crashes_or_hangs_does_so_elsewhere(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    if script == HANG:
        for module in ("environment", "project"):
            monkeypatch.setattr(f"formwork.tools.doctor.{module}.LIBRARIES_SECONDS", 0.2)
    with other_module(patient, monkeypatch, "torch", script) as other:
        found = other.look_at_all("gpu", "ffcv", "imports", "trainer")

    assert found["gpu"].verdict == "problem"
    assert reason in found["gpu"].finding
    assert reason in found["ffcv"].finding
    assert "train, evaluate (torch cannot be used)" in found["imports"].finding
    assert found["trainer"].finding == "not checked: torch cannot be used"


# --- GPU ----------------------------------------------------------------------------------------

CPU = {"version": "2.11", "built_for": None, "names": [], "mps": False, "fault": None, "warnings": []}
CUDA = CPU | {"built_for": "CUDA 13.0"}
H100 = CUDA | {"names": ["H100", "H100"]}
OLD_DRIVER = "CUDA initialization: The NVIDIA driver on your system is too old"


@pytest.mark.parametrize(
    ("torch", "devices", "verdict", "words"),
    [
        (CPU, [], "ok", "no GPU: the CPU trains (torch 2.11)"),
        (H100, 2 * ["/dev/nvidia0"], "ok", "2 x H100, torch 2.11 for CUDA 13.0"),
        (CPU | {"mps": True}, [], "ok", "Apple's GPU"),
        (CPU, ["/dev/nvidia0"], "note", "1 NVIDIA GPU here, and torch 2.11 is built for the CPU alone"),
        (CUDA | {"warnings": [OLD_DRIVER]}, ["/dev/nvidia0"], "note", f"cannot use: {OLD_DRIVER}"),
        (H100 | {"fault": "no kernel image is available"}, [], "problem", "cannot use H100, H100: no kernel image"),
    ],
)
def test_gpus(torch: dict, devices: list[str], verdict: str, words: str) -> None:
    found = judge_gpu(torch, [Path(device) for device in devices], "auto")
    assert found.verdict == verdict
    assert words in found.finding
    assert judge_gpu(torch, [], "cpu").verdict != "problem"


def test_the_trainer_is_made_as_for_a_training(patient: Patient) -> None:
    assert patient.look("trainer").finding == "1 device (cpu), precision 32-true"

    patient.set_params(trainer={"accelerator": "mps"})
    found = patient.look("trainer")
    assert found.verdict == "problem"
    assert found.finding.startswith("trainer in params.yaml does not suit this machine: ")
    assert patient.look("batches").finding == "not checked: trainer in params.yaml does not suit this machine"
