"""The tool as a whole: on a healthy repository, a fresh clone, an empty folder; and checks that fail."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import doctor
from formwork.errors import FormworkError
from formwork.tools.doctor import checks
from formwork.tools.doctor.checks import CHECKS, Check, examine
from formwork.tools.doctor.project import Project
from formwork.tools.doctor.verdict import NotChecked, Result, as_json, as_table, note, ok, problem
from tests.tools.doctor.conftest import Versioned
from tests.workspace import Workspace


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Exit status, and what is printed, of the tool in this process."""
    monkeypatch.setattr(sys, "argv", ["doctor.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    return int(ended.value.code), capsys.readouterr().out


def test_a_healthy_repository_has_no_problem(versioned: Versioned) -> None:
    repo, _ = versioned

    done = repo.run("python", "src/doctor.py", "--full", "--json")  # exits with 0

    report = json.loads(done.output[done.output.index("{") :])
    assert report["problems"] == 0
    assert [found["check"] for found in report["checks"]] == [check.name for check in CHECKS]
    other = {found["check"]: found for found in report["checks"] if found["verdict"] != "ok"}
    # This copy has no .venv and no requirements.txt; a machine may have more cores, or a GPU.
    assert other.keys() <= {"python", "packages", "gpu", "trainer", "workers"}, other
    assert repo.changes() == set()


def test_a_fresh_clone_has_no_problem_and_is_told_what_to_do(
    versioned: Versioned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    repo, _ = versioned
    clone: Workspace = repo.clone(repo.path.parent / "clone")
    monkeypatch.chdir(clone.path)

    status, output = run(monkeypatch, capsys)

    assert status == 0, output
    for command in ("dvc pull data/raw/shapes.dvc", "dvc repro link", "dvc repro convert", "dvc pull"):
        assert f"$ {command}\n" in output
    assert clone.changes() == set()


def test_an_empty_folder_is_a_problem_and_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    status, output = run(monkeypatch, capsys)

    assert status == 1
    assert "params.yaml is missing. Run from the root of the repository." in " ".join(output.split())
    assert "this check failed" not in output
    assert list(tmp_path.iterdir()) == []


# --- Checks that fail ---------------------------------------------------------------------------


def crash(project: Project) -> Result:
    raise ZeroDivisionError("oh")


def leave(project: Project) -> Result:
    sys.exit(3)


def mistake(project: Project) -> Result:
    raise FormworkError("File x is missing. Run `dvc pull x`.")


def late(project: Project) -> Result:
    raise TimeoutError("the server does not answer")


def cannot_say(project: Project) -> Result:
    raise NotChecked("there is no x")


def import_what_is_missing(project: Project) -> Result:
    raise ModuleNotFoundError("No module named 'x'", name="x")


def test_whatever_a_check_does_the_others_are_made() -> None:
    hang = threading.Event()
    checks = [
        Check("crash", crash),
        Check("leave", leave),
        Check("mistake", mistake),
        Check("late", late),
        Check("hang", lambda project: ok(str(hang.wait())), seconds=0.01),
        Check("cannot say", cannot_say),
        Check("import", import_what_is_missing),
        Check("well", lambda project: ok("all is well")),
    ]
    with Project() as project:
        found = dict(examine(project, checks))
    hang.set()

    assert found["crash"].finding.startswith("this check failed: ZeroDivisionError: oh (")
    assert found["leave"].finding.startswith("this check failed: SystemExit: 3")
    assert found["mistake"].commands == ("dvc pull x",)
    assert found["late"].finding == "this check failed: the server does not answer"
    assert found["hang"].finding.startswith("no answer within 0.01 s")
    assert {name for name, result in found.items() if result.verdict == "problem"} == {c.name for c in checks[:5]}
    assert found["cannot say"] == Result("note", "not checked: there is no x", checked=False)
    assert found["import"].finding == "not checked: x is not installed"
    assert found["well"].verdict == "ok"


# --- Report -------------------------------------------------------------------------------------

FOUND = [
    ("disk", problem("too small. Run `dvc gc`, or buy one", "dvc gc", "df -h")),
    ("python", ok("3.12")),
    ("a", Result("note", "not checked: there is no x", checked=False)),
    ("raw images", note(FormworkError("word " * 20 + "end:\n  one\n  two"))),
    ("b", Result("note", "not checked: there is no x", checked=False)),
]


def test_the_table_is_aligned_and_ends_with_the_problems() -> None:
    assert as_table(FOUND, 60).splitlines() == [
        "ok       python      3.12",
        "note     raw images  word word word word word word word word",
        "                     word word word word word word word word",
        "                     word word word word end:",
        "                       one",
        "                       two",
        "note                 not checked: there is no x (a, b)",
        "problem  disk        too small. Run `dvc gc`, or buy one",
        "                     $ df -h",
        "",
        "1 problem, 3 notes, 1 ok",
    ]


def test_programs_get_everything() -> None:
    report = json.loads(as_json(FOUND))
    assert report["problems"] == 1
    assert report["checks"][0] == {
        "check": "disk",
        "verdict": "problem",
        "finding": "too small. Run `dvc gc`, or buy one",
        "commands": ["dvc gc", "df -h"],
    }
    assert len(report["checks"]) == len(FOUND)


def test_names_are_told_apart() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_a_signal_ends_the_doctor_and_not_one_check_alone(tmp_path: Path) -> None:
    script = (
        "import os, signal, time; from formwork.errors import run; from formwork.tools.doctor import checks\n"
        "def kill(project): os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)\n"
        "run(lambda: print(list(checks.examine(checks.Project(), [checks.Check('kill', kill)]))))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(checks.__file__).parents[3])}
    command = [sys.executable, "-c", script]
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 20}
    done = subprocess.run(command, **options, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "Received SIGTERM: stopped.\n")
