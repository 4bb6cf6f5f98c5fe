"""A fresh clone and a remote: what somebody else gets, over a folder and over SSH, as files and as read-only links."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sshd import ssh_server
from tests.workspace import Workspace, snapshot

BETON = "data/processed/shapes/train.beton"


@pytest.fixture(params=["folder", "ssh"])
def clone(request: pytest.FixtureRequest, repo: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """A fresh clone of `repo`, and no data yet. Its remote is a folder, or one that is reached over SSH.

    A host key needs no acceptance: DVC's SSH client looks at none.
    """
    if request.param == "folder":
        yield repo.clone(tmp_path / "clone")
        return
    (tmp_path / "sshd").mkdir()
    with ssh_server(tmp_path / "sshd") as server:
        repo.dvc(f"remote modify storage url {server.url}{tmp_path}/over-ssh")
        repo.commit("Share over SSH")
        clone = repo.clone(tmp_path / "clone")
        for workspace in (repo, clone):
            workspace.dvc(f"remote modify --local storage keyfile {server.key}")
        repo.dvc("push")
        yield clone


def test_a_clone_that_pulls_everything_is_up_to_date(clone: Workspace, repo: Workspace):
    """`git clone`, `dvc pull`, and there is nothing left to do."""
    clone.dvc("pull")
    assert snapshot(clone / "data/raw") == snapshot(repo / "data/raw")
    assert clone.outdated() == {}
    assert clone.dvc("repro").ran == []
    assert clone.changes() == set()


@pytest.mark.parametrize(
    ("clone", "link_type", "stages"),
    [("folder", "hardlink", ["train", "evaluate"]), ("ssh", "symlink", ["train"])],
    indirect=["clone"],
)
def test_a_clone_trains_without_the_raw_images(clone: Workspace, link_type: str, stages: list[str]):
    """Who pulls just manifests and betons can train on them; also where they are read-only links into DVC's cache."""
    clone.dvc(f"config --local cache.type {link_type}")
    clone.dvc("pull link convert@train convert@val")
    # Back to copies: with cache.type symlink, DVC would make a dangling link for each image that is not in its cache.
    clone.dvc("config --local --unset cache.type")
    result = clone.dvc(f"exp run --allow-missing -S trainer.max_epochs=2 {stages[-1]}")
    assert result.ran == stages
    assert how_linked(clone / BETON) == link_type
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
    repo.shell(f"python src/convert.py data/raw/shapes data/interim/shapes/train.csv {BETON} metrics.json speed.json")
    assert how_linked(repo / BETON) is None
    assert (repo / BETON).read_bytes() != before
    assert snapshot(cache) == cached
    assert {path: path.stat().st_mtime_ns for path in times} == times

    assert repo.dvc("repro convert").ran == ["convert@train", "convert@val"]
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
