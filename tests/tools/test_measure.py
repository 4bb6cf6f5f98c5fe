"""Figures say which code they are of."""

import subprocess
from pathlib import Path

import pytest

from formwork.tools import measure


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the code of a benchmark, the page that it writes, and one commit."""
    for name in ("src/formwork/tools/measure.py", "docs/benchmarks.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("committed\n")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *command], cwd=tmp_path, check=True)
    monkeypatch.setattr(measure, "__file__", str(tmp_path / "src/formwork/tools/measure.py"))
    return tmp_path


def test_the_commit_is_marked_where_code_differs_but_not_where_a_page_does(repository: Path) -> None:
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout
    assert len(measure.commit()) >= 7
    assert head.startswith(measure.commit())

    (repository / "docs/benchmarks.md").write_text("a table\n")
    assert head.startswith(measure.commit())

    (repository / "src/formwork/tools/measure.py").write_text("edited\n")
    assert measure.commit().endswith("-dirty")


def test_there_may_be_no_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    assert measure.commit() == "unknown"
