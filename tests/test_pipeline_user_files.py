"""What users put below data/raw is theirs: no command deletes or changes it, and the pipeline says what it needs."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from formwork.yaml import read_yaml
from tests.conftest import Shared
from tests.make_images import make_dataset
from tests.tools.compare.conftest import quick_base
from tests.workspace import Workspace, snapshot

__all__ = ["quick_base"]  # a fixture

LINK_AND_CONVERT = ["link", "convert@train", "convert@val", "convert@test"]


@pytest.fixture
def repo(quick_base: Workspace, tmp_path: Path) -> Workspace:
    return quick_base.copy(tmp_path)


def test_an_own_dataset_needs_no_entry_in_params(repo: Workspace):
    """A folder in data/raw, `dvc add`, `dvc exp run -S data.name=mine`. (`base` has trained on such a dataset.)"""
    assert not {"shapes", "mine"} & read_yaml(repo / "params.yaml")["datasets"].keys()
    make_dataset(repo / "data/raw/mine", classes=("x", "y"), per_class=30, size=[(12, 10), (9, 14)], format="JPEG")
    before = snapshot(repo / "data/raw/mine")
    repo.dvc("add data/raw/mine")
    result = repo.dvc("exp run -S data.name=mine convert")
    assert sorted(result.ran) == sorted(LINK_AND_CONVERT)
    assert "WARNING: DVC does not know" not in result.output
    assert snapshot(repo / "data/raw/mine") == before
    changed = {path for path in repo.changes() if not path.startswith("results/")}
    assert changed == {"data/raw/mine.dvc", "dvc.lock", "params.yaml"}


def test_splits_in_another_spelling_and_litter_need_no_setting(repo: Workspace):
    raw = repo / "data/raw/mine"
    make_dataset(raw / "Training", per_class=6)
    make_dataset(raw / "Testing", per_class=3, seed=1)
    make_dataset(raw, classes=["@eaDir"], per_class=1)
    for name in ("Thumbs.db", "loose.png", "Training/._cat", "Testing/dog/.DS_Store"):
        (raw / name).touch()
    repo.dvc("add data/raw/mine")
    output = repo.dvc("exp run -S data.name=mine convert").output
    assert "data/raw/mine/Testing/ as test and data/raw/mine/Training/ as train" in output
    assert (
        "1 image in no class folder (loose.png); 4 hidden or system files (@eaDir/, Testing/dog/.DS_Store, " in output
    )
    assert {path.relative_to(repo.path).as_posix() for path in (repo / "data/interim/mine").glob("*/*")} == {
        f"data/interim/mine/{split}/{name}" for split in ("train", "val", "test") for name in ("cat", "dog")
    }
    output = repo.dvc("exp run -S 'data.ignore=[/Testing/dog/]' link", status=255).output
    assert "data/raw/mine/Testing holds one class only, 'cat'" in output


def test_who_forgets_dvc_add_is_told(repo: Workspace):
    """Without `dvc add` the pipeline works, says what is missing, and doing that is enough."""
    make_dataset(repo / "data/raw/mine", per_class=30)
    before = snapshot(repo / "data/raw/mine")
    output = repo.dvc("exp run -S data.name=mine link").output
    for command in re.findall(r"^\t((?:dvc|git) add .+)$", output, re.MULTILINE):
        repo.shell(command)
    assert snapshot(repo / "data/raw/mine") == before
    assert "data/raw/mine.dvc" in repo.changes()
    assert repo.dvc("exp run --temp -S data.name=mine link").ran == []


@pytest.fixture(scope="session")
def fetched(quick_base: Workspace, shared: Shared) -> Workspace:
    """`quick_base` with the fetched dataset digits, committed and pushed; and an experiment named aside."""

    def make(folder: Path) -> None:
        repo = quick_base.copy(folder)
        repo.set_params(data__fetch=["digits"])
        assert repo.dvc("repro data/dvc.yaml").ran == ["fetch@digits"]
        repo.commit("Fetch digits")
        repo.dvc("push")
        repo.dvc("exp run --temp --name aside -S ffcv.beton.jpeg_quality=20 convert@val")

    return Workspace(shared("fetched", make) / "repo", quick_base.env)


def edit(folder: Path) -> None:
    """Add, change and remove an image, by hand."""
    first, second, *_ = sorted(folder.rglob("*.png"))
    Image.new("RGB", (8, 8), "red").save(first.with_name("added.png"))
    Image.new("RGB", (8, 8), "blue").save(first)
    second.unlink()


def test_an_edited_fetched_dataset_is_kept_and_can_become_an_own_one(fetched: Workspace, tmp_path: Path):
    """`dvc repro` refuses to fetch over it. Doing what the message says makes it a dataset like any other."""
    repo = fetched.copy(tmp_path)
    repo.set_params(data__name="digits")
    edit(repo / "data/raw/digits")
    edited = snapshot(repo / "data/raw/digits")
    output = repo.dvc("repro", status=255).output
    for line in ("0/0000.png (changed)", "0/0010.png (removed)", "0/added.png (added)", "Nothing was changed."):
        assert line in output
    assert snapshot(repo / "data/raw/digits") == edited

    move, add = re.findall(r"`(mv .+?|dvc add .+?)`", output)
    name = re.search(r"set data.name to (\S+) in params.yaml", output)[1]
    repo.shell(move)
    repo.shell(add)
    repo.set_params(data__name=name)
    assert repo.dvc("repro link").ran == ["link"]
    assert snapshot(repo / "data/raw" / name) == edited


@dataclass(frozen=True)
class Owned:
    """A copy of `fetched` in which users have work that DVC does not know of yet, and what it was.

    mine: an own folder without `dvc add`. shapes: an own dataset, edited since `dvc add`. digits: a fetched dataset,
    edited.
    """

    repo: Workspace
    before: dict[str, dict[str, str]]

    def kept(self) -> set[str]:
        return {name for name, files in self.before.items() if snapshot(self.repo / "data/raw" / name) == files}


def make_owned(fetched: Workspace, folder: Path) -> Owned:
    repo = fetched.copy(folder)
    make_dataset(repo / "data/raw/mine", per_class=30)
    for name in ("shapes", "digits"):
        edit(repo / "data/raw" / name)
    return Owned(repo, {name: snapshot(repo / "data/raw" / name) for name in ("mine", "shapes", "digits")})


def test_commands_keep_what_dvc_does_not_know(fetched: Workspace, tmp_path: Path):
    """`dvc checkout` and `dvc pull` refuse to touch it; the others leave it alone."""
    owned = make_owned(fetched, tmp_path)
    repo = owned.repo
    for command, status in [
        ("checkout", 255),
        ("pull", 1),
        ("repro data/dvc.yaml", 255),
        ("push", 0),
        ("exp run --temp --name again -S data.split.val=0.3 link", 0),
        ("exp run --queue --name later -S ffcv.beton.jpeg_quality=40", 0),
        ("exp remove again", 0),
        ("exp remove --queue", 0),
        ("repro link", 0),
        ("checkout data/raw/shapes.dvc", 0),
    ]:
        repo.dvc(command, status)
        assert owned.kept() == {"mine", "shapes", "digits"}, command


@pytest.fixture(scope="session")
def kept_by(fetched: Workspace, shared: Shared) -> dict[str, set[str]]:
    """What is left of Owned after the commands for which DVC checks all outs out by force."""

    def make(folder: Path) -> None:
        kept = {}
        for command, arguments, status in [
            ("exp run", "-S data.split.val=2", 255),  # stops in the first stage: the checkout comes before
            ("exp apply", "aside", 0),
        ]:
            owned = make_owned(fetched, folder / command)
            owned.repo.dvc(f"{command} {arguments}", status)
            kept[command] = sorted(owned.kept())
        (folder / "kept.json").write_text(json.dumps(kept))

    text = (shared("owned", make) / "kept.json").read_text()
    return {command: set(names) for command, names in json.loads(text).items()}


FORCED = pytest.mark.xfail(raises=AssertionError, reason="DVC checks out by force, without asking")


@pytest.mark.parametrize(
    ("command", "folder"),
    [
        ("exp run", "mine"),
        ("exp run", "shapes"),
        pytest.param("exp run", "digits", marks=FORCED),
        ("exp apply", "mine"),
        pytest.param("exp apply", "shapes", marks=FORCED),
        pytest.param("exp apply", "digits", marks=FORCED),
    ],
)
def test_experiments_keep_what_dvc_does_not_know(kept_by: dict[str, set[str]], command: str, folder: str):
    """What is no output is never touched. `dvc exp run` first saves own datasets as they are: their edits are kept."""
    assert folder in kept_by[command]
