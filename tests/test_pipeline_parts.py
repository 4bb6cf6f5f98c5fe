"""A beton in parts on real DVC: a change of 1 % writes, caches and pushes 1 %, whatever came before."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from formwork.api.loader import open_loader
from formwork.beton.faults import commands_to_mend
from formwork.conversion.write import write_beton
from formwork.images.manifest import read_manifest
from formwork.params import load_params
from tests.beton.test_mending import damage
from tests.make_images import make_dataset
from tests.test_pipeline_branches import ONCE, carry_out
from tests.tools.compare.conftest import TRY
from tests.workspace import Workspace, copy_sources, snapshot

PER_CLASS, CLASSES = 250, ("a", "c", "e", "g")
ONE_PERCENT = PER_CLASS * len(CLASSES) // 100
MOST = 0.015  # of the stored bytes that a change of 1 % may write
RAW, TRAIN = "data/raw/shapes", "data/processed/shapes/train.beton"
CHECKOUT = f"checkout {RAW}.dvc link convert@train"


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Workspace:
    """A repository with 1,000 training images, stored in parts; converted, committed and pushed. Not to be changed."""
    repo = Workspace(tmp_path_factory.mktemp("parts") / "repo", environment)
    copy_sources(repo.path)
    repo.set_params(data__name="shapes", data__fetch=[], data__batch_size=50, data__num_workers=1)
    repo.set_params(ffcv__beton__write_mode="raw", ffcv__beton__part_mb=0.25)
    make_dataset(repo / RAW / "train", CLASSES, PER_CLASS, (32, 32), content="noise")
    make_dataset(repo / RAW / "val", CLASSES, 1, (32, 32), seed=1)
    repo.git("init --quiet --initial-branch main")
    repo.dvc("remote add --default storage ../remote")
    repo.dvc(f"add {RAW}")
    (repo / "src/try.py").write_text(TRY.format(text="tried"))  # it imports torch
    (repo / "results").mkdir()
    repo.dvc("repro convert@train")
    repo.commit("Convert")
    repo.dvc("push")
    assert len(parts(repo)) > 10
    return repo


@pytest.fixture
def repo(converted: Workspace, tmp_path: Path) -> Workspace:
    return converted.copy(tmp_path)


def parts(repo: Workspace) -> dict[str, os.stat_result]:
    """The parts of the training split in the workspace, by name."""
    return {path.name: path.stat() for path in (repo / TRAIN).glob("part-*.beton")}


def betons(folder: Path) -> dict[str, int]:
    """Bytes of each beton in DVC's cache, or in a remote, by its place."""
    files = (path for path in folder.rglob("files/md5/*/*") if path.stat().st_size > 4096)
    return {str(path): path.stat().st_size for path in files if b"FORMWORK" in path.read_bytes()[:4096]}


class Change:
    """What it costs to convert the raw images as they are now.

    Attributes:
        written, cached, pushed: bytes. share: of those written in what was stored.
        stayed: how many parts are the very files that they were.
        said: the stage's last line.
    """

    def __init__(self, repo: Workspace):
        cache, remote = repo / ".dvc/cache", repo.path.parent / "remote"
        before, in_cache, in_remote = parts(repo), betons(cache), betons(remote)
        repo.dvc(f"add {RAW}")
        (self.said,) = re.findall(r"^train\.beton: (.*)", repo.dvc("repro convert@train").output, re.MULTILINE)
        repo.dvc("push convert@train")
        after = parts(repo)
        self.written = sum(status.st_size for name, status in after.items() if name not in before)
        self.share = self.written / sum(status.st_size for status in before.values())
        self.cached = sum(betons(cache).values()) - sum(in_cache.values())
        self.pushed = sum(betons(remote).values()) - sum(in_remote.values())
        self.stayed = sum(identity(status) == identity(after[name]) for name, status in before.items() if name in after)
        assert sorted(path.name for path in (repo / TRAIN).parent.iterdir()) == ["train.beton", "train.json"]


def identity(status: os.stat_result) -> tuple[int, int]:
    """Where these are the same, DVC neither reads a file nor stores it."""
    return status.st_ino, status.st_mtime_ns


def draw(path: Path, number: int) -> None:
    """A new image, in place of one that is there."""
    path.parent.mkdir(exist_ok=True)  # not through a link into DVC's cache
    path.unlink(missing_ok=True)
    Image.fromarray(np.random.default_rng([7, number]).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)


def replace(repo: Workspace) -> None:
    """1 % at random."""
    paths = sorted((repo / RAW / "train").rglob("*.png"))
    for number in np.random.default_rng(0).choice(len(paths), ONE_PERCENT, replace=False).tolist():
        draw(paths[number], number)


def add_class(repo: Workspace) -> None:
    """1 %, in a class whose name lies between those of others: all labels after it change."""
    for number in range(ONE_PERCENT):
        draw(repo / RAW / f"train/b/{number}.png", 5000 + number)
    draw(repo / RAW / "val/b/0.png", 6000)


def rearrange(repo: Workspace) -> None:
    """Remove 1 %, all of one class; rename another class, and move images from one class to another."""
    train = repo / RAW / "train"
    for number in range(ONE_PERCENT):
        (train / f"e/{number:03d}.png").unlink()
        (train / f"a/{number:03d}.png").rename(train / f"g/moved-{number}.png")
    for split in ("train", "val"):
        (repo / RAW / split / "c").rename(repo / RAW / split / "z")


def check_batches(repo: Workspace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever came before: batches are those of one file that is made from nothing, bit for bit and in their order."""
    monkeypatch.chdir(repo.path)
    params = load_params()
    manifest = read_manifest(repo / "data/interim/shapes/train.csv")
    ours = [(images.clone(), labels.clone()) for images, labels in open_loader("train")]
    other = folder / "one"
    (other / "data/processed/shapes").mkdir(parents=True)
    for name in ("params.yaml", "data/raw", "data/interim"):
        (other / name).symlink_to(repo / name)
    one = params.ffcv.beton.model_copy(update={"part_mb": None})
    write_beton(manifest, repo / RAW, other / TRAIN, one, workers=1)
    monkeypatch.chdir(other)
    for (images, labels), (expected, truth) in zip(ours, open_loader("train"), strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, truth)


def test_changes_on_two_branches_and_their_merge_cost_what_they_change(
    repo: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With copies in the workspace, DVC's default: parts that stay are the very files that they were."""
    first = parts(repo)
    repo.git("switch --quiet --create side")
    replace(repo)
    change = Change(repo)
    assert 0 < change.share <= MOST
    assert change.written == change.cached == change.pushed
    assert change.stayed == len(first)
    side = parts(repo)
    repo.commit("Replace")

    repo.git("switch --quiet main")
    repo.dvc(CHECKOUT)
    assert parts(repo).keys() == first.keys()
    add_class(repo)
    change = Change(repo)
    assert 0 < change.share <= MOST
    assert change.written == change.cached == change.pushed
    assert change.stayed == len(first)
    main = parts(repo)
    repo.commit("Add a class")

    carry_out(repo, ONCE)
    carry_out(repo, "git merge side")
    repo.dvc(CHECKOUT)
    change = Change(repo)
    assert parts(repo).keys() == main.keys() | side.keys()
    assert (change.cached, change.pushed) == (0, 0)
    assert "; 0 of " in change.said
    repo.commit("Merge")

    rearrange(repo)
    change = Change(repo)
    assert (change.written, change.cached, change.pushed) == (0, 0, 0)
    check_batches(repo, tmp_path, monkeypatch)


def test_a_change_in_a_clone_costs_what_it_changes(converted: Workspace, tmp_path: Path) -> None:
    """Somebody else's, with nothing but what was pulled, after `dvc gc`; parts are hard links into DVC's cache."""
    repo = converted.copy(tmp_path).clone(tmp_path / "clone")
    repo.dvc("config --local cache.type hardlink")
    repo.dvc("pull link convert@train data/raw/shapes.dvc")
    repo.dvc("gc --workspace --force")
    before = parts(repo)
    replace(repo)
    change = Change(repo)
    assert 0 < change.share <= MOST
    assert change.written == change.cached == change.pushed
    assert change.stayed == len(before)
    assert all(status.st_nlink == 2 for status in parts(repo).values())


def test_an_experiment_in_a_copy_of_the_workspace_costs_what_it_changes(repo: Workspace) -> None:
    """Where parts are symlinks into DVC's cache, which the copy has no own one of."""
    repo.dvc("config --local cache.type symlink")
    first = parts(repo)
    replace(repo)
    repo.dvc(f"add {RAW}")
    before = betons(repo / ".dvc/cache")
    said = repo.dvc("exp run --temp convert@train").output
    assert "; 1 of " in said
    new = sum(betons(repo / ".dvc/cache").values()) - sum(before.values())
    assert 0 < new <= MOST * sum(status.st_size for status in first.values())


def test_repacked_parts_are_those_of_nothing_before(repo: Workspace, tmp_path: Path) -> None:
    """Without the bytes of images that are no more, and with a damaged sample made anew."""
    replace(repo)
    assert "of the bytes are of images that are no more" in Change(repo).said
    part = next((repo / TRAIN).glob("part-*.beton"))
    damage(part)
    look, _, _ = commands_to_mend(part)
    repo.shell(f"{look}; python src/repack.py")

    manifest = read_manifest(repo / "data/interim/shapes/train.csv")
    params = load_params(repo.path).ffcv.beton
    write_beton(manifest, repo / RAW, tmp_path / "train.beton", params, workers=1)
    assert snapshot(repo / TRAIN) == snapshot(tmp_path / "train.beton")
    assert repo.outdated().keys().isdisjoint({"link", "convert@train"})
