"""The interim tree: links in ImageFolder's layout, rebuilt when needed, with no file of the user's lost."""

import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from formwork.errors import DatasetError
from formwork.images.manifest import Manifest, read_manifest, write_manifest
from formwork.images.row import Columns, Row
from formwork.interim.tree import ensure_tree, tree_path
from tests import permissions
from tests.images.test_manifest import NAMES
from tests.make_images import make_dataset, make_manifest
from tests.processes import TIMEOUT


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
    assert links == {tree / tree_path(manifest, sample) for sample in range(len(manifest))}
    for sample, path in enumerate(manifest.paths):
        link = tree / tree_path(manifest, sample)
        assert not os.readlink(link).startswith("/")
        assert link.read_bytes() == (raw / path).read_bytes()
    assert all(names or folders for _, folders, names in os.walk(tree))


def test_imagefolder_sees_the_same_samples(raw: Path, manifest: Manifest) -> None:
    from torchvision.datasets import ImageFolder

    tree = ensure_tree(manifest, raw)

    check(tree, manifest, raw)
    assert tree == manifest.path.with_name("train")
    folder = ImageFolder(tree)
    assert folder.classes == ["cat", "dog"]
    assert sorted(folder.samples) == sorted(
        (str(tree / tree_path(manifest, sample)), label) for sample, label in enumerate(manifest.labels.tolist())
    )
    assert len({image.tobytes() for image, _ in folder}) == 7


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("cat/0.png", "cat/0.png"),
        ("train/cat/0.png", "cat/0.png"),
        ("test/cat/more/0.png", "cat/more/0.png"),
        ("cat/train/cat/0.png", "cat/train/cat/0.png"),
        ("cat/cat/0.png", "cat/cat/0.png"),
    ],
)
def test_the_tree_has_no_split_folders_of_its_own(path: str, place: str, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path / "train.csv", [Row(path, "cat", 0, 1, 1, 1, "L", "PNG", "0" * 64)])
    assert tree_path(manifest, 0) == place


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
    (tree / tree_path(manifest, -1)).unlink()
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


def _identities(tree: Path) -> dict[str, int]:
    return {str(path.relative_to(tree)): path.lstat().st_ino for path in tree.rglob("*")}


def test_a_change_makes_the_links_of_changed_rows_anew(raw: Path, manifest: Manifest) -> None:
    tree = ensure_tree(manifest, raw)
    before = _identities(tree)
    (raw / "bird").mkdir()
    (raw / "cat/000.png").rename(raw / "bird/000.png")
    make_dataset(raw, ["cat"], per_class=3, size=(9, 9), seed=5)  # other bytes in all, and the first is there again
    changed = make_manifest(raw, manifest.path)
    write_manifest(manifest.path, [row for row in changed.rows if row.path != "cat/deeper down/000.png"])

    ensure_tree(read_manifest(manifest.path), raw)

    check(tree, read_manifest(manifest.path), raw)
    after = _identities(tree)
    assert after.keys() ^ before.keys() == {"bird", "bird/000.png", "cat/deeper down", "cat/deeper down/000.png"}
    assert {name for name in after.keys() & before.keys() if after[name] != before[name]} == set()


def test_an_image_of_another_class_changes_its_place(raw: Path, manifest: Manifest) -> None:
    rows = [replace(row, path=f"all/cat/dog/{n}.png", class_name="cat") for n, row in enumerate(manifest.rows)]
    for row, source in zip(rows, manifest.paths, strict=True):
        (raw / row.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(raw / source, raw / row.path)
    ensure_tree(write_manifest(manifest.path, rows), raw)

    tree = ensure_tree(write_manifest(manifest.path, [replace(rows[0], class_name="dog", label=1), *rows[1:]]), raw)

    check(tree, read_manifest(manifest.path), raw)
    assert (tree / "dog/0.png").exists()
    assert not (tree / "cat/dog/0.png").exists()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a link is missing": lambda tree: (tree / "cat/000.png").unlink(),
    "a folder is missing": lambda tree: shutil.rmtree(tree / "cat"),
    "a link is new": lambda tree: (tree / "cat/new.png").symlink_to("000.png"),
    "a link leads elsewhere": lambda tree: (
        (tree / "cat/new").symlink_to("x") or (tree / "cat/new").replace(tree / "cat/000.png")
    ),
    "an empty folder": lambda tree: (tree / "new").mkdir(),
    "its stamp is cut short": lambda tree: os.truncate(tree.with_name(".train.tree"), 700),
    "its stamp is something else": lambda tree: tree.with_name(".train.tree").write_text("0123 ../raw\n"),
    "its stamp is empty": lambda tree: tree.with_name(".train.tree").write_text(""),
}


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_tree_is_made_anew(
    raw: Path, manifest: Manifest, damage: Callable[[Path], object], changed: bool
) -> None:
    tree = ensure_tree(manifest, raw)
    damage(tree)
    if changed:
        _other_rows(manifest)

    ensure_tree(read_manifest(manifest.path), raw)

    check(tree, read_manifest(manifest.path), raw)


@pytest.mark.parametrize("steps", range(5))
def test_whoever_is_interrupted_in_a_change_leaves_no_tree_that_seems_done(
    raw: Path, manifest: Manifest, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if killed: nothing is tidied up. Stamp and two links are removed, and two links made."""
    rows = list(manifest.rows)
    ensure_tree(write_manifest(manifest.path, rows[2:]), raw)
    now = write_manifest(manifest.path, rows[:-2])
    left = iter(range(steps))

    def killed(act: Callable) -> Callable:
        def call(*arguments: str) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            act(*arguments)

        return call

    with monkeypatch.context() as patch:
        patch.setattr("formwork.interim.tree.os.unlink", killed(os.unlink))
        patch.setattr("formwork.interim.tree.os.symlink", killed(os.symlink))
        with pytest.raises(KeyboardInterrupt):
            ensure_tree(now, raw)

    for kept in (rows[2:], rows[:-2]):  # also where the manifest is again what it was
        check(ensure_tree(write_manifest(manifest.path, kept), raw), read_manifest(manifest.path), raw)


def test_of_a_table_folders_are_those_of_the_raw_images(raw: Path, manifest: Manifest) -> None:
    """Its classes need not be names of folders, and images of one class may have the same name."""
    rows = [replace(row, class_name="../a/b" if n % 2 else "cat") for n, row in enumerate(manifest.rows)]
    shutil.copytree(raw, raw / "more")
    rows += [replace(row, path=f"more/{row.path}") for row in rows]

    tree = ensure_tree(write_manifest(manifest.path, rows, Columns(from_table=True)), raw)

    check(tree, read_manifest(manifest.path), raw)
    assert (tree / "more/cat/000.png").exists()


def test_a_copy_that_cannot_be_written_is_used(raw: Path, manifest: Manifest) -> None:
    tree = ensure_tree(manifest, raw)
    for folder in (tree, tree / "cat"):
        os.utime(folder, (1, 1))
    manifest.path.parent.chmod(0o500)

    with permissions.enforced():
        assert ensure_tree(manifest, raw) == tree
    manifest.path.parent.chmod(0o700)


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


def test_a_file_in_place_of_a_link_is_kept_and_named(raw: Path, manifest: Manifest) -> None:
    tree = ensure_tree(manifest, raw)
    mine = tree / tree_path(manifest, -1)
    mine.unlink()
    mine.write_text("mine")

    with pytest.raises(DatasetError, match=f"{mine} is a file of your own"):
        ensure_tree(manifest, raw)
    _other_rows(manifest)
    with pytest.raises(DatasetError, match=f"{mine} is a file of your own"):
        ensure_tree(read_manifest(manifest.path), raw)
    assert mine.read_text() == "mine"


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
        barrier.wait(timeout=TIMEOUT)
        return sum(path.is_file() for path in ensure_tree(manifest, raw).rglob("*.png"))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(make, range(4))) == [400] * 4
