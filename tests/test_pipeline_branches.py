"""Two branches are merged by the commands of docs/branches.md, on real git and DVC. Training takes no time here."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Shared
from tests.tools.compare.conftest import Quick, quick_base
from tests.workspace import ROOT, Workspace

__all__ = ["quick_base"]  # a fixture

PAGE = (ROOT / "docs/branches.md").read_text(encoding="utf-8")
ONCE, SWITCH, MERGE, CHOICE = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


def carry_out(repo: Workspace, block: str, but: tuple[str, ...] = ()) -> None:
    """Run the lines of a block of the page, for the dataset of these tests. `git merge` may end with conflicts."""
    for line in block.replace("raw/photos", "raw/shapes").splitlines():
        command = line.removeprefix("$ ").partition("#")[0].strip()
        if command not in but:
            status = 1 if command.startswith("git merge") and conflicts_await(repo, command) else 0
            repo.run("sh", "-c", command, status=status)


def conflicts_await(repo: Workspace, command: str) -> bool:
    tried = subprocess.run(
        ["git", "merge-tree", "--write-tree", "HEAD", command.removeprefix("git merge ")],
        cwd=repo.path,
        env=repo.env,
        capture_output=True,
        check=False,
    )
    return tried.returncode != 0


def add_images(repo: Workspace, *names: str, colour: str = "red") -> None:
    for name in names:
        Image.new("RGB", (8, 8), colour).save(repo / f"data/raw/shapes/{name}.png")
    repo.dvc("add data/raw/shapes")


def images(repo: Workspace) -> set[str]:
    folder = repo / "data/raw/shapes"
    return {path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.png")}


@pytest.fixture(scope="session")
def branches_base(quick_base: Workspace, shared: Shared) -> Workspace:
    """On `main`, with other params than when `photos` began, which has more images; each was trained."""
    env = quick_base.env

    def make(folder: Path) -> None:
        repo = Workspace(quick_base.copy(folder).path, env)
        before = images(repo)
        repo.git("switch --quiet --create photos")
        add_images(repo, "a/new", "b/new")
        repo.dvc("repro")
        repo.commit("More images")
        carry_out(repo, SWITCH.replace("photos", "main"))
        assert images(repo) == before
        repo.set_params(seed=3)
        repo.dvc("repro")
        repo.commit("Another seed")

    return Workspace(shared("branches", make) / "repo", env)


@pytest.fixture
def branches(branches_base: Workspace, tmp_path: Path) -> Quick:
    """A copy of `branches_base`."""
    path = branches_base.copy(tmp_path / "branches").path
    return Quick(path, branches_base.env | {"TRAININGS": str(tmp_path / "trainings")})


def test_new_images_and_new_params_are_merged(branches: Quick) -> None:
    before = images(branches)

    carry_out(branches, MERGE)

    assert images(branches) == before | {"a/new", "b/new"}
    assert branches.outdated() == {}
    assert branches.changes() == set()
    assert branches.git("log -1 --format=%s").strip() == "Merge branch 'photos'"
    assert branches.trainings == ["ffcv 3"]
    assert json.loads((branches / "results/evaluate/metrics.json").read_text()) == {"val_accuracy": 0.53}
    manifests = [(branches / f"data/interim/shapes/{split}.csv").read_text() for split in ("train", "val")]
    assert "a/new.png" in "".join(manifests)


def test_images_that_both_branches_added_and_removed_come_together(branches: Quick) -> None:
    before = images(branches)
    (branches / "data/raw/shapes/c/000.png").unlink()
    add_images(branches, "c/ours")
    branches.commit("Our images")

    carry_out(branches, ONCE)
    carry_out(branches, MERGE)

    assert images(branches) == before - {"c/000"} | {"a/new", "b/new", "c/ours"}
    assert branches.outdated() == {}
    assert branches.changes() == set()


def test_one_image_that_both_branches_changed_is_a_choice(branches: Quick) -> None:
    add_images(branches, "a/new", colour="blue")
    branches.commit("The same image, otherwise")

    carry_out(branches, ONCE)
    carry_out(branches, MERGE.splitlines()[0])
    carry_out(branches, CHOICE)
    carry_out(branches, "\n".join(MERGE.splitlines()[1:]))

    with Image.open(branches / "data/raw/shapes/a/new.png") as image:
        assert image.getpixel((0, 0)) == (255, 0, 0)
    assert branches.changes() == set()


def test_params_that_both_branches_changed_are_named_until_they_are_decided(branches: Quick) -> None:
    branches.git("switch --quiet photos")
    branches.set_params(seed=4)
    branches.commit("A third seed")
    branches.git("switch --quiet main")

    carry_out(branches, MERGE.splitlines()[0])

    path = branches / "params.yaml"
    line = path.read_text().splitlines().index("<<<<<<< HEAD") + 1
    said = branches.run("python", "src/link.py", *"abcde", status=1).output
    assert said.startswith(f"ERROR: params.yaml, line {line}: git has left both sides of a merge here")
    assert len(said.splitlines()) == 1
    kept = re.sub(r"<<<<<<< .*?\n(.*?)=======\n.*?>>>>>>> .*?\n", r"\1", path.read_text(), flags=re.DOTALL)
    path.write_text(kept)
    assert "a git merge is not finished" in branches.run("python", "src/doctor.py").output
    carry_out(branches, "\n".join(MERGE.splitlines()[1:]))
    assert branches.outdated() == {}
    assert branches.changes() == set()


def test_reproducing_before_the_checkout_is_mended_as_the_page_says(branches: Quick) -> None:
    """DVC writes the .dvc file back to the images that lie in the workspace: the page warns of it."""
    branches.git("switch --quiet photos")
    branches.dvc("repro")
    assert "data/raw/shapes.dvc" in branches.changes()
    branches.shell("git checkout data/raw/shapes.dvc && dvc checkout")
    assert {"a/new", "b/new"} <= images(branches)
    assert "data/raw/shapes.dvc" not in branches.changes()
