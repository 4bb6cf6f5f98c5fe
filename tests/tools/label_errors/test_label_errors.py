"""The tool in a repository: which runs it asks, and what it writes."""

import csv
from pathlib import Path

import pytest

from formwork.tools.label_errors.runs import find_folds
from tests.tools.report.test_report import is_self_contained
from tests.workspace import Workspace, write_file


def test_the_model_of_the_workspace_is_asked_where_there_are_no_folds(repo):
    output = repo.run("python", "src/label_errors.py").output
    with (repo / "results/label_errors/suspects.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert f"{len(rows)} image" in output
    assert "cross-validate: dvc exp run --queue -S data.split.folds=5" in output
    page = (repo / "results/label_errors/index.html").read_text()
    assert is_self_contained(page)
    assert page.count("<img ") == len(rows)
    assert {row["split"] for row in rows} <= {"val", "test"}
    assert repo.ignores("results/label_errors/suspects.csv")
    if rows:  # one epoch of training errs
        repo.run("python", "src/label_errors.py", "--correct", "labels.csv")
        with (repo / "labels.csv").open() as file:
            labels = {row["path"]: row["label"] for row in csv.DictReader(file)}
        assert len(labels) == 60
        assert all(labels[row["path"]] == row["suggested"] for row in rows)
    repo.shell("rm results/evaluate/predictions.parquet && git rm --quiet --cached dvc.lock && rm dvc.lock")
    assert "Run `dvc repro evaluate`" in repo.run("python", "src/label_errors.py", status=1).output


@pytest.fixture
def folds(tmp_path: Path, environment: dict[str, str]) -> Workspace:
    """A git repository without a commit."""
    repo = Workspace(tmp_path, environment)
    repo.git("init --quiet --initial-branch main")
    return repo


def experiment(repo: Workspace, name: str, folds: object, fold: int, dataset: str = "photos") -> str:
    """The revision of a new experiment, a second younger than the one before."""
    number = len(repo.git("for-each-ref").splitlines())
    repo = Workspace(repo.path, {**repo.env, "GIT_COMMITTER_DATE": f"{1_700_000_000 + number} +0000"})
    split = f"  split:\n    folds: {folds}\n    fold: {fold}\n" if folds else ""
    write_file(repo / "params.yaml", f"data:\n  name: {dataset}\n{split}")
    repo.commit(name)
    repo.git(f"update-ref refs/exps/00/{'0' * 38}/{name} HEAD")
    return repo.git("rev-parse HEAD").strip()


def test_the_newest_experiment_of_each_fold_counts(folds):
    experiment(folds, "old", 3, 0)
    experiment(folds, "five", 5, 1)
    second = experiment(folds, "second", 3, 1)
    experiment(folds, "elsewhere", 3, 2, "mnist")
    experiment(folds, "plain", "", 0)
    experiment(folds, "broken", "3x", 0)
    newest = experiment(folds, "newest", 3, 0)
    assert [(fold.revision, fold.fold) for fold in find_folds(folds.path, "photos")] == [(newest, 0), (second, 1)]
    assert find_folds(folds.path, "nothing") == []
