"""A merge that is half done is a problem where a file cannot be read, with the command for this kind of file."""

import pytest

from tests.tools.doctor.conftest import Patient

MARKS = "<<<<<<< HEAD\none: 1\n=======\none: 2\n>>>>>>> photos\n"


def test_no_merge(patient: Patient) -> None:
    assert patient.look("merge").verdict == "ok"


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("params.yaml", "git add params.yaml"),
        ("dvc.yaml", "git add dvc.yaml"),
        ("dvc.lock", "git checkout --ours dvc.lock"),
        ("data/dvc.lock", "git checkout --ours data/dvc.lock"),
        ("results/evaluate/metrics.json", "git checkout --ours results/evaluate/metrics.json"),
        ("results/evaluate/confusion.csv", "git checkout --ours results/evaluate/confusion.csv"),
        ("data/raw/colours.dvc", 'git config merge.dvc.driver "dvc git-hook merge-driver '),
    ],
)
def test_marks_of_a_conflict(patient: Patient, path: str, command: str) -> None:
    (patient / path).parent.mkdir(parents=True, exist_ok=True)
    (patient / path).write_text(f"first: line\n{MARKS}")
    found = patient.look("merge")
    assert found.verdict == "problem"
    assert found.finding == f"{path}, line 2, holds both sides of a git merge"
    assert found.commands[0].startswith(command)


@pytest.mark.parametrize("text", ["=======\n", "a <<<<<<< b\n", "<<<<<<<\n"])
def test_what_is_no_mark(patient: Patient, text: str) -> None:
    (patient / "dvc.lock").write_text(text)
    assert patient.look("merge").verdict == "ok"
