"""A fresh clone and a remote: what somebody else gets, over a folder and over SSH, as files and as read-only links."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import TIMEOUT
from tests.sshd import ssh_server
from tests.tools.compare.conftest import Quick, quick, quick_base
from tests.workspace import ROOT, Result, Workspace, snapshot

__all__ = ["quick", "quick_base"]  # fixtures

BETON = "data/processed/shapes/train.beton"


@pytest.fixture
def over_ssh(repo: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A fresh clone of `repo`, and no data yet. Its remote is reached over SSH.

    A host key needs no acceptance: DVC's SSH client looks at none.
    """
    (tmp_path / "sshd").mkdir()
    with ssh_server(tmp_path / "sshd") as server:
        repo.dvc(f"remote modify storage url {server.url}{tmp_path}/over-ssh")
        repo.commit("Share over SSH")
        clone = repo.clone(tmp_path / "clone")
        for workspace in (repo, clone):
            workspace.dvc(f"remote modify --local storage keyfile {server.key}")
        repo.dvc("push")
        yield clone


def test_a_clone_that_pulls_everything_is_up_to_date(repo: Workspace, tmp_path: Path):
    """`git clone`, `dvc pull`, and there is nothing left to do."""
    clone = repo.clone(tmp_path / "clone")
    clone.dvc("pull")
    assert snapshot(clone / "data/raw") == snapshot(repo / "data/raw")
    assert clone.outdated() == {}
    assert clone.dvc("repro").ran == []
    assert clone.changes() == set()


def test_a_clone_trains_without_the_raw_images(over_ssh: Workspace):
    """Who pulls just manifests and betons can train on them; also where they are read-only links into DVC's cache."""
    clone = over_ssh
    clone.dvc("config --local cache.type symlink")
    clone.dvc("pull link convert weights")
    # Back to copies: with cache.type symlink, DVC would make a dangling link for each image that is not in its cache.
    clone.dvc("config --local --unset cache.type")
    assert clone.dvc("exp run --allow-missing -S trainer.max_epochs=2").ran == ["train", "evaluate"]
    assert how_linked(clone / BETON) == "symlink"
    metrics = json.loads((clone / "results/train/metrics.json").read_text())
    assert (metrics["loader"], metrics["step"]) == ("ffcv", 2)
    assert not (clone / "data/raw/shapes").exists()


@pytest.mark.parametrize("link_type", ["hardlink", "symlink"])
def test_converting_again_does_not_write_through_links(repo: Workspace, link_type: str):
    """A beton that is a link into DVC's cache is replaced: what it was linked to keeps its bytes, for root as well."""
    cache = repo / ".dvc/cache/files"
    repo.dvc(f"config cache.type {link_type}")
    repo.dvc("checkout --relink")
    assert how_linked(repo / BETON) == link_type
    times = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    before, cached = (repo / BETON).read_bytes(), snapshot(cache)

    repo.set_params(ffcv__beton__jpeg_quality=10)
    # Without DVC, which would delete the link first.
    manifest, others = "data/interim/shapes/train.csv", "meaning.json metrics.json speed.json"
    repo.shell(f"python src/convert.py data/raw/shapes {manifest} {BETON} {others}")
    assert how_linked(repo / BETON) is None
    assert (repo / BETON).read_bytes() != before
    assert snapshot(cache) == cached
    assert {path: path.stat().st_mtime_ns for path in times} == times

    assert repo.dvc("repro convert").ran == ["convert@train", "convert@val", "convert@test"]
    assert how_linked(repo / BETON) == link_type
    assert {path: digest for path, digest in snapshot(cache).items() if path in cached} == cached


def how_linked(path: Path) -> str | None:
    """How a file is linked into DVC's cache, where it is read-only; None for a file of its own."""
    if path.is_symlink():
        kind = "symlink"
    elif path.stat().st_nlink > 1:
        kind = "hardlink"
    else:
        return None
    assert not path.stat().st_mode & 0o222
    return kind


PAGE = (ROOT / "docs/betons.md").read_text(encoding="utf-8").replace("raw/photos", "raw/shapes")
COMMANDS = dict(re.findall(r"^\| ([^|]+) \| (.*`dvc .*) \|$", PAGE, re.MULTILINE))


@pytest.fixture
def alone(quick: Quick) -> Iterator[Workspace]:
    """A clone that has pulled manifests and betons, where training takes no time."""
    clone = Workspace(quick.clone(quick.path.with_name("alone")).path, quick.env)
    follow(clone, "get manifests and betons")
    yield clone
    clone.dvc("queue stop --kill")


def follow(repo: Workspace, purpose: str) -> Result:
    """Run the commands that the page has for this purpose; the result of the last."""
    done = Result("")
    for command in re.findall(r"`((?:dvc|git) [^`]+)`", COMMANDS[purpose].partition("; ")[2] or COMMANDS[purpose]):
        if command != "git push":
            done = repo.shell(command)
    return done


def test_the_commands_for_a_clone_without_the_original_images_work(alone: Workspace) -> None:
    assert not (alone / "data/raw/shapes").exists()
    assert follow(alone, "bring up to date").ran == []
    assert follow(alone, "an experiment").ran == ["train", "evaluate"]
    alone.git("stash")
    assert follow(alone, "one beside your work").ran == ["train", "evaluate"]
    assert alone.changes() == set()
    follow(alone, "one for the queue")
    deadline = time.monotonic() + TIMEOUT
    while "Success" not in (tasks := alone.dvc("queue status").output):
        assert "Failed" not in tasks
        assert time.monotonic() < deadline
        time.sleep(1)

    follow(alone, "keep an experiment, in place of `dvc exp apply`")
    assert alone.git("branch --show-current") == "best-branch\n"
    assert (alone / "models/best.pt").read_text().startswith("ffcv 6 ")
    assert alone.dvc("status train evaluate").output.startswith("Data and pipelines are up to date")
    follow(alone, "share what was trained")

    follow(alone, "back, or to any other branch")
    follow(alone, "get the original images after all")
    assert alone.dvc("repro --dry link").ran == []
    assert len(list((alone / "data/raw/shapes").rglob("*.png"))) == 60


def test_what_dvc_says_there_without_them(alone: Workspace) -> None:
    """The page quotes it; where it no longer holds, the page can be shorter."""
    assert "missing data 'source'" in alone.dvc("repro", status=255).output
    alone.dvc("exp run --allow-missing -S seed=5 --name other")
    alone.git("stash")
    said = alone.dvc("exp apply other", status=255).output
    assert "ERROR: Checkout failed for following targets:\ndata/raw/shapes\n" in said
    assert (alone / "models/best.pt").read_text().startswith("ffcv 5 ")
    assert "does not exist" in alone.dvc("exp save --name saved", status=1).output
