"""Revisions, experiments and datasets, from a real repository with a remote; what is missing, and what brings it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.tools.diff.diff import diff
from formwork.tools.diff.sides import find_side
from tests.tools.diff.conftest import THIRD
from tests.tools.diff.states import manifests
from tests.workspace import ROOT, Workspace

KINDS = ("added", "removed", "replaced", "relabelled", "moved", "renamed")


@pytest.fixture
def totals(monkeypatch, capsys):
    """totals(repository, "v1", "main", ...): the totals that are not 0, in a repository."""

    def get(repo: Workspace, before: str = "HEAD", after: str = "workspace", download: bool = False) -> dict[str, int]:
        monkeypatch.chdir(repo.path)
        for name, value in repo.env.items():
            monkeypatch.setenv(name, value)
        diff(before, after, "json", download)
        found = json.loads(capsys.readouterr().out)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    return get


def test_any_two_sides(states, totals):
    more = {"added": 2, "removed": 1}
    assert totals(states) == {}
    assert totals(states, "v1") == totals(states, "HEAD~1", "main") == totals(states, "v1", "workspace") == more
    assert totals(states, "main", "v1") == {"added": 1, "removed": 2}
    assert totals(states, "v1", "tried") == {"relabelled": 4}
    assert totals(states, "v1", "mnist") == {"removed": 5}
    assert totals(states, "v1:photos", "workspace:mnist") == {"removed": 5}  # which lie there still
    commit = states.git("rev-parse --short v1").strip()
    assert totals(states, commit) == more


def test_the_workspace_is_what_lies_there(history, totals):
    manifests(history / "data/interim/photos", THIRD)
    assert totals(history, "v1") == {"relabelled": 4}
    shutil.rmtree(history / "data/interim/photos")
    assert totals(history) == {}  # DVC's cache has what dvc.lock names


def test_the_script_prints_text_markdown_or_json(states):
    def run(*arguments: str) -> str:
        return states.run("python", ROOT / "src/diff.py", *arguments).output

    text = run("v1", "main")
    assert "8 images before, 9 after: 2 added, 1 removed\n" in text
    assert re.search(r"^cow +0 +2 +2 +0$", text, re.MULTILINE)
    assert "| cow | 0 | 2 | 2 | 0 |" in run("v1", "--markdown")
    assert json.loads(run("--json"))["before"]["images"] == 9


def test_an_unknown_revision_is_told_with_the_nearest_names(states, totals):
    for asked, hint in {
        "mainx": "Did you mean main?",
        "trie": "Did you mean tried?",
        "mnist": None,
        "photos": "workspace:photos",
        "--all": "Known: HEAD, early, main, mnist, tried, v1, workspace.",
        "v1:../x": "names no dataset after the colon",
        "v1:nothing": "has no manifests of nothing, but those of photos: ask for v1:photos",
        "mnist:photos": "has no manifests of photos, but those of mnist",
        "early": "dvc.lock of early has no manifests",
        "workspace:nothing": "There are no manifests of nothing in the workspace. Run `dvc repro link`.",
    }.items():
        if hint:
            with pytest.raises(FormworkError) as error:
                totals(states, asked)
            assert hint in str(error.value)
        else:
            totals(states, asked)


@pytest.mark.parametrize("asked", ["v1", "mnist", "main"])
def test_what_is_missing_is_brought_by_the_command_that_is_named(history, totals, asked):
    shutil.rmtree(history / ".dvc/cache")
    with pytest.raises(FormworkError, match=r"train.csv.* not in DVC's cache") as error:
        totals(history, asked)
    (command,) = re.findall(r"`(.*)`", str(error.value))
    history.shell(command)
    assert bool(totals(history, asked)) == (asked != "main")


def test_what_is_missing_is_downloaded_where_that_is_asked(history, totals):
    shutil.rmtree(history / ".dvc/cache")
    with pytest.raises(FormworkError, match="again with --fetch: no `dvc fetch` reaches an experiment"):
        totals(history, "tried")
    assert totals(history, "v1", "tried", download=True) == {"relabelled": 4}
    assert totals(history, "v1", "tried") == {"relabelled": 4}
    shutil.rmtree(history / ".dvc/cache")
    shutil.rmtree(history / "../remote/files")
    with pytest.raises(FormworkError, match="nor in the remote storage"):
        totals(history, "v1", download=True)
    history.dvc("remote remove storage")
    with pytest.raises(FormworkError, match="there is no DVC remote to fetch from"):
        totals(history, "v1")


def test_a_damaged_file_in_the_cache_is_named(history, totals):
    lock = history.git("show v1:dvc.lock")
    (md5,) = re.findall(r"path: data/interim/photos/val.csv\n\s+hash: md5\n\s+md5: (\w+)", lock)
    cached = history / f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    cached.chmod(0o644)
    cached.write_text("garbage\n")
    with pytest.raises(FormworkError, match=r"val.csv of photos at v1 .* is damaged.* remove .*--fetch") as error:
        totals(history, "v1")
    cached.unlink()
    assert str(cached) in str(error.value)
    assert totals(history, "v1", download=True)


@pytest.mark.parametrize("params", ["data: [", "data:\n  name:\n", "", "x: 1\n"])
def test_a_side_without_a_dataset_asks_for_one(history, totals, params):
    (history / "params.yaml").write_text(params)
    with pytest.raises(FormworkError, match=r"params.yaml of workspace names no dataset in data.name.* Say which"):
        totals(history)
    assert totals(history, "v1", "workspace:photos")


def test_a_folder_that_is_no_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormworkError, match="is in no git repository"):
        find_side(Path(), "HEAD")
    with pytest.raises(FormworkError, match=r"params.yaml of workspace names no dataset in data.name"):
        find_side(Path(), "workspace")
