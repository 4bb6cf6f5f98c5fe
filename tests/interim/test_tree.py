"""The interim tree: links in ImageFolder's layout, rebuilt when needed, with no file of the user's lost."""

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from formwork.errors import DatasetError
from formwork.images.manifest import Manifest, read_manifest, write_manifest
from formwork.interim.tree import ensure_tree
from tests import permissions
from tests.images.test_manifest import NAMES
from tests.make_images import make_dataset, make_manifest


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    raw = make_dataset(tmp_path / "raw" / "mine", per_class=3)
    return make_dataset(raw / "cat", ["deeper down"], per_class=1, seed=1).parent


@pytest.fixture
def manifest(raw: Path, tmp_path: Path) -> Manifest:
    return make_manifest(raw, tmp_path / "interim" / "mine" / "train.csv")


def check(tree: Path, manifest: Manifest, raw: Path) -> None:
    """The tree is what the manifest says, and nothing else."""
    links = {Path(folder, name) for folder, _, names in os.walk(tree) for name in names}
    assert links == {tree / row.tree_path for row in manifest.rows}
    for row in manifest.rows:
        link = tree / row.tree_path
        assert not os.readlink(link).startswith("/")
        assert link.read_bytes() == (raw / row.path).read_bytes()


def test_imagefolder_sees_the_same_samples(raw: Path, manifest: Manifest) -> None:
    from torchvision.datasets import ImageFolder

    tree = ensure_tree(manifest, raw)

    check(tree, manifest, raw)
    assert tree == manifest.path.with_name("train")
    folder = ImageFolder(tree)
    assert folder.classes == ["cat", "dog"]
    assert sorted(folder.samples) == sorted((str(tree / row.tree_path), row.label) for row in manifest.rows)
    assert len({image.tobytes() for image, _ in folder}) == 7


@pytest.mark.parametrize("name", NAMES)
def test_any_file_name_can_be_linked(raw: Path, tmp_path: Path, name: bytes) -> None:
    (raw / "cat" / "000.png").rename(raw / "cat" / os.fsdecode(name))
    path = tmp_path / "interim" / "mine" / "train.csv"
    make_manifest(raw, path)

    check(ensure_tree(read_manifest(path), raw), read_manifest(path), raw)


def test_a_tree_that_is_up_to_date_is_left_alone(raw: Path, manifest: Manifest) -> None:
    tree = ensure_tree(manifest, raw)
    before = {path: path.lstat().st_mtime_ns for path in [tree, *tree.rglob("*")]}
    (tree / "cat" / "note.txt").write_text("mine")
    (tree / "cat" / "note.txt").unlink()

    ensure_tree(manifest, raw)

    assert before.keys() == {tree, *tree.rglob("*")}
    assert all(path.lstat().st_mtime_ns == time for path, time in before.items() if path != tree / "cat")


def _other_rows(manifest: Manifest) -> None:
    write_manifest(manifest.path, manifest.rows[:-1])


def _half_built(manifest: Manifest) -> None:
    """As a process leaves it that is killed while it builds: some links missing, and no stamp."""
    tree = manifest.path.with_suffix("")
    (tree / manifest.rows[-1].tree_path).unlink()
    for path in manifest.path.parent.glob(".train*"):
        path.unlink()


STALE: dict[str, Callable[[Manifest], object]] = {
    "missing": lambda manifest: shutil.rmtree(manifest.path.with_suffix("")),
    "of another manifest": _other_rows,
    "half built": _half_built,
    "moved": lambda manifest: manifest.path.parent.rename(manifest.path.parent.with_name("moved")),
}


@pytest.mark.parametrize("change", STALE.values(), ids=STALE)
def test_a_stale_tree_is_rebuilt(raw: Path, manifest: Manifest, change: Callable[[Manifest], object]) -> None:
    ensure_tree(manifest, raw)
    change(manifest)
    moved = manifest.path.parent.with_name("moved") / "train.csv"
    now = read_manifest(moved if moved.exists() else manifest.path)

    check(ensure_tree(now, raw), now, raw)


def test_links_follow_raw_images_that_moved(raw: Path, manifest: Manifest) -> None:
    ensure_tree(manifest, raw)
    moved = raw.rename(raw.parent / "elsewhere")

    check(ensure_tree(manifest, moved), manifest, moved)


@pytest.mark.parametrize("name", ["cat/mine.png", "mine.txt", "new/mine.png"])
def test_a_file_of_the_users_own_is_kept_and_named(raw: Path, manifest: Manifest, name: str) -> None:
    tree = ensure_tree(manifest, raw)
    (tree / name).parent.mkdir(exist_ok=True)
    (tree / name).write_text("mine")
    _other_rows(manifest)

    with pytest.raises(DatasetError, match=f"{tree / name} is a file of your own.* Move it"):
        ensure_tree(read_manifest(manifest.path), raw)
    assert (tree / name).read_text() == "mine"

    (tree / name).unlink()
    check(ensure_tree(read_manifest(manifest.path), raw), read_manifest(manifest.path), raw)


@pytest.mark.parametrize("built", [True, False])
def test_missing_raw_images_are_named(raw: Path, manifest: Manifest, built: bool) -> None:
    if built:
        ensure_tree(manifest, raw)
    moved = raw.rename(raw.parent / "elsewhere")

    with pytest.raises(DatasetError, match=f"{raw} are missing.*Run `dvc pull {raw}` or `dvc repro`"):
        ensure_tree(manifest, raw)

    moved.rename(raw)
    check(ensure_tree(manifest, raw), manifest, raw)


def test_a_folder_that_cannot_be_written_is_named(raw: Path, manifest: Manifest) -> None:
    manifest.path.parent.chmod(0o500)

    with permissions.enforced(), pytest.raises(DatasetError, match=r"interim/mine/train.* cannot be made: Permission"):
        ensure_tree(manifest, raw)


def test_a_file_in_place_of_the_tree_is_named(raw: Path, manifest: Manifest) -> None:
    manifest.path.with_suffix("").write_text("mine")

    with pytest.raises(DatasetError, match=r"interim/mine/train, a tree of symlinks to .* cannot be made: "):
        ensure_tree(manifest, raw)
    assert manifest.path.with_suffix("").read_text() == "mine"


def test_several_processes_may_want_it_at_once(tmp_path: Path) -> None:
    """One makes it, the others wait; each finds the whole tree when it returns."""
    raw = make_dataset(tmp_path / "raw", per_class=200, size=(1, 1))
    manifest = make_manifest(raw, tmp_path / "interim" / "train.csv")
    barrier = threading.Barrier(4)

    def make(_: int) -> int:
        barrier.wait(timeout=60)
        return sum(path.is_file() for path in ensure_tree(manifest, raw).rglob("*.png"))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(make, range(4))) == [400] * 4
