"""docs/undo.md: its commands, run as a reader would paste them, leave everything as it was."""

import re

import pytest

from tests.tools.compare.conftest import Quick, quick, quick_base
from tests.workspace import ROOT, Workspace, snapshot

__all__ = ["quick", "quick_base"]  # fixtures

PAGE = (ROOT / "docs/undo.md").read_text(encoding="utf-8")
SECTIONS = {
    heading: re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    for heading, text in (part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
}


def state(repo: Workspace) -> dict[str, dict[str, str]]:
    files = {name: {"": (repo / name).read_text()} for name in ("params.yaml", "dvc.lock")}
    return files | {folder: snapshot(repo / folder) for folder in ("data", "models", "results")}


def test_every_command_of_the_page_is_run_here() -> None:
    assert [heading for heading, commands in SECTIONS.items() if commands] == [
        "A setting that is refused",
        "An experiment that ran",
        "An experiment that was committed",
        "An experiment in the queue",
    ]
    assert sum(map(len, SECTIONS.values())) == 5


@pytest.mark.parametrize("setting", ["data.name=..", "data.fetch=digits", "data.name=other"])
def test_what_dvc_refuses_in_its_own_words_is_taken_back(repo: Workspace, setting: str) -> None:
    before = state(repo)
    repo.dvc(f"exp run -S {setting}", status=255)
    (command,) = SECTIONS["A setting that is refused"]
    repo.shell(command)
    assert state(repo) == before
    assert repo.outdated() == {}


def test_an_experiment_is_taken_back(quick: Quick) -> None:
    """One that ran, the same applied again, one that failed when outputs were gone, and one that was committed."""
    before = state(quick)
    back, forget = SECTIONS["An experiment that ran"]
    for command, status in {
        "exp run --name unwanted -S evaluate.worst_mistakes=4 -S seed=1": 0,
        "exp apply unwanted": 0,
        "exp run -S seed=2": 255,
    }.items():
        failing = {"FAIL": "ERROR: no such thing"} if status else {}
        Workspace(quick.path, quick.env | failing).dvc(command, status=status)
        assert state(quick) != before
        quick.shell(back)
        assert state(quick) == before
        assert quick.changes() == set()
    assert quick.outdated() == {}

    quick.dvc("exp apply unwanted")
    quick.commit("An experiment")
    (revert,) = SECTIONS["An experiment that was committed"]
    quick.shell(revert)
    assert state(quick) == before

    quick.shell(forget)
    assert "unwanted" not in quick.dvc("exp list --all-commits").output


def test_an_experiment_is_taken_out_of_the_queue(repo: Workspace) -> None:
    before = state(repo)
    repo.dvc("exp run --queue --name later -S train.lr=0.001")
    (command,) = SECTIONS["An experiment in the queue"]
    repo.shell(command)
    assert "later" not in repo.dvc("queue status").output
    assert state(repo) == before
