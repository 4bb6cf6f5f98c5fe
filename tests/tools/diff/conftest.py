"""A repository with a few states of small manifests, as `link` would have written them, in git and in DVC's cache."""

from pathlib import Path

import pytest

from tests.tools.diff.states import State, manifests
from tests.workspace import Workspace, write_file

FIRST = [("train", f"{name}/{n}.png", f"{name}{n}", name) for name in ("cat", "dog") for n in range(4)]
SECOND = [*FIRST[1:], ("val", "cow/1.png", "cow1", "cow"), ("test", "cow/2.png", "cow2", "cow")]
THIRD = [("train", path, content, "dog") for _, path, content, _ in FIRST]

PIPELINE = """\
stages:
  link:
    cmd: "true"
    outs:
      - data/interim/${data.name}/train.csv
      - data/interim/${data.name}/val.csv
      - data/interim/${data.name}/test.csv
"""


def link(repo: Workspace, state: State, name: str = "photos") -> None:
    """What `dvc repro link` does with raw images of a state."""
    write_file(repo / "params.yaml", f"data:\n  name: {name}\n")
    folder = repo / f"data/interim/{name}"
    folder.mkdir(parents=True, exist_ok=True)
    manifests(folder, state)
    repo.dvc("commit --quiet --force link")
    repo.dvc("push --quiet")


@pytest.fixture(scope="session")
def states(shared, environment) -> Workspace:
    """v1: FIRST, a tag; main: SECOND; `mnist`, a branch: another dataset; `tried`, a DVC experiment: THIRD; `early`, a
    tag: nothing yet. The remote is the folder beside it. Do not change it: `history` is a copy to work on."""

    def make(folder: Path) -> None:
        repo = Workspace(folder / "repo", environment)
        write_file(repo / ".gitignore", "/data/interim/*/*\n")
        repo.git("init --quiet --initial-branch main")
        repo.dvc("init --quiet")
        repo.dvc("remote add --quiet --default storage ../remote")
        write_file(repo / "params.yaml", "data:\n  name: photos\n")
        repo.commit("Nothing yet")
        repo.git("tag early")
        write_file(repo / "dvc.yaml", PIPELINE)
        link(repo, FIRST)
        repo.commit("Link")
        repo.git("tag v1")
        repo.git("switch --quiet --create mnist")
        link(repo, FIRST[:3], "mnist")
        repo.commit("Another dataset")
        repo.git("switch --quiet main")
        link(repo, THIRD)
        repo.commit("Tried")
        head = repo.git("rev-parse v1").strip()
        repo.git(f"update-ref refs/exps/{head[:2]}/{head[2:]}/tried HEAD")
        repo.git("reset --quiet --hard v1")
        link(repo, SECOND)
        repo.commit("More")

    return Workspace(shared("diff", make) / "repo", environment)


@pytest.fixture
def history(states: Workspace, tmp_path: Path) -> Workspace:
    return states.copy(tmp_path)
