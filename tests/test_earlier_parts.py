"""Earlier parts are found wherever they are, and placed without writing their bytes; what is damaged is left out."""

import json
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from formwork.earlier_parts import Version, earlier_versions, forget, keep, keep_outdated, kept_folder
from formwork.yaml import dump_yaml

FOLDER = Path("data/processed/pets/train.beton")
NAMES = ("made_by.json", "part-1.beton", "part-2.beton")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of git and DVC, with the files of FOLDER in the workspace."""
    monkeypatch.chdir(tmp_path)
    for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for path in (FOLDER, Path(".dvc")):
        path.mkdir(parents=True)
    for name in NAMES:
        (FOLDER / name).write_text(name)
    git("init", "--quiet", "--initial-branch", "first")
    return tmp_path


def git(*arguments: str) -> None:
    own = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *own, *arguments], check=True, capture_output=True)


def cache(number: int, names: Iterable[str], folder: Path = Path(".dvc/cache")) -> str:
    """Put a version into DVC's cache, whose files are called after the number; what dvc.lock calls it."""
    entries = []
    for place, name in enumerate(names):
        md5 = f"{number:016x}{place:016x}"
        path = folder / "files/md5" / md5[:2] / md5[2:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number} {name}")
        path.chmod(0o444)
        entries.append({"md5": md5, "relpath": name})
    digest = f"{number:032x}.dir"
    path = folder / "files/md5" / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entries))
    return digest


def lock(digest: str, path: Path = FOLDER) -> None:
    """Have dvc.lock name a version."""
    outs = [{"path": path.as_posix(), "hash": "md5", "md5": digest, "size": 5, "nfiles": 3}]
    stages = {"link": {"cmd": "link"}, "convert@train": {"cmd": "convert", "outs": outs}}
    Path("dvc.lock").write_text(dump_yaml({"schema": "2.0", "stages": stages}))


def found(folder: Path = FOLDER) -> list[dict[str, str]]:
    """The contents of the files of each version, by name."""
    return [{name: path.read_text() for name, path in v.files.items()} for v in earlier_versions(folder)]


def content(number: int, names: Iterable[str] = NAMES) -> dict[str, str]:
    return {name: f"{number} {name}" for name in names}


def delete() -> None:
    """As DVC does before a stage."""
    for path in FOLDER.iterdir():
        path.unlink()
    FOLDER.rmdir()


# --- Kept by link -------------------------------------------------------------------------------


def test_what_is_kept_outlives_the_folder_and_comes_back_as_the_same_files(repository: Path) -> None:
    before = {name: (FOLDER / name).stat() for name in NAMES}
    keep(FOLDER)
    delete()
    (version,) = earlier_versions(FOLDER)
    FOLDER.mkdir()
    for name in NAMES:
        version.place(name, FOLDER / name)
    forget(FOLDER)
    assert not kept_folder(FOLDER).exists()
    for name, status in before.items():
        now = (FOLDER / name).stat()
        assert (now.st_ino, now.st_mtime_ns, now.st_nlink) == (status.st_ino, status.st_mtime_ns, 1)


def test_a_crash_of_convert_loses_nothing_that_was_kept(repository: Path) -> None:
    """Neither does `link` after it: the folder is not whole then, and has no .json beside it."""
    keep(FOLDER)
    delete()
    (version,) = earlier_versions(FOLDER)
    FOLDER.mkdir()
    version.place("part-1.beton", FOLDER / "part-1.beton")  # and here it is killed
    keep_outdated(FOLDER, Path("images.json"))
    delete()
    assert found() == [{name: name for name in NAMES}]


def test_parts_are_kept_where_the_images_have_changed_alone(repository: Path) -> None:
    images = Path("images.json")
    images.write_text('{"images": 3, "sha256": "new"}')
    meaning = FOLDER.with_suffix(".json")
    for content_of_meaning, kept in (('{"manifest": "old"}', True), ('{"manifest": "new"}', False), ("{", True)):
        meaning.write_text(content_of_meaning)
        keep_outdated(FOLDER, images)
        assert kept_folder(FOLDER).exists() == kept


def test_links_into_a_cache_single_files_and_nothing_at_all_are_not_kept(repository: Path) -> None:
    os.link(FOLDER / "part-1.beton", "elsewhere")
    (FOLDER / "part-2.beton").unlink()
    (FOLDER / "part-2.beton").symlink_to(repository / "elsewhere")
    keep(FOLDER)
    assert [path.name for path in kept_folder(FOLDER).iterdir()] == ["made_by.json"]
    for folder in (FOLDER / "made_by.json", FOLDER.with_name("none.beton")):
        keep(folder)
        assert not kept_folder(folder).exists()


# --- In DVC's cache -----------------------------------------------------------------------------


def test_versions_of_the_workspace_and_of_both_sides_of_a_merge_are_found(repository: Path) -> None:
    delete()
    lock(cache(1, NAMES))
    git("add", "dvc.lock")
    git("commit", "--quiet", "--message", "one")
    git("switch", "--quiet", "--create", "side")
    lock(cache(2, NAMES))
    git("commit", "--quiet", "--all", "--message", "two")
    git("switch", "--quiet", "--create", "main", "HEAD~")
    lock(cache(3, NAMES))
    git("commit", "--quiet", "--all", "--message", "three")
    git("merge", "--quiet", "--no-commit", "--strategy", "ours", "side")
    assert found()[0] == content(3)
    assert sorted(map(str, found())) == sorted(map(str, map(content, (1, 2, 3))))

    git("commit", "--quiet", "--message", "merge")
    Path("dvc.lock").unlink()
    assert sorted(map(str, found())) == sorted(map(str, map(content, (1, 2, 3))))
    lock(cache(4, NAMES))
    assert found()[0] == content(4)
    assert sorted(map(str, found())) == sorted(map(str, map(content, (1, 2, 3, 4))))


def test_what_is_not_there_or_damaged_is_left_out(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    delete()
    digest = cache(1, [*NAMES, "folder/part-3.beton"])
    lock(digest)
    place = Path(".dvc/cache/files/md5") / f"{1:016x}"[:2] / (f"{1:016x}{1:016x}")[2:]
    place.unlink()  # `dvc gc`, or another that was not pulled
    assert found() == [content(1, ["made_by.json", "part-2.beton"])]
    assert found(Path("data/processed/pets/val.beton")) == []
    assert found(FOLDER.absolute()) == []  # of no repository
    assert capsys.readouterr().out == ""

    tree = Path(".dvc/cache/files/md5/00") / digest[2:]
    for damage in ("{", '[{"md5": 1}]', "[1]", "\xff"):
        tree.write_text(damage)
        assert found() == []
        assert str(tree) in capsys.readouterr().out
    lock(digest.removesuffix(".dir"))  # a file
    assert found() == []
    for text in ("", "stages:\n", f"stages:\n  a:\n    outs:\n    - path: {FOLDER}\n<<<<<<< HEAD\n", "\0"):
        Path("dvc.lock").write_text(text)
        assert found() == []
    assert capsys.readouterr().out == ""


def test_dvcs_configuration_says_where_the_cache_is_and_what_links_it_makes(repository: Path, tmp_path: Path) -> None:
    delete()
    lock(cache(1, NAMES, tmp_path / "elsewhere"))
    assert found() == []
    Path(".dvc/config.local").write_text("[cache]\n    dir = ../elsewhere\n    type = hardlink,symlink\n")
    (version,) = earlier_versions(FOLDER)
    assert version.ways == ("hardlink", "symlink")
    Path(".dvc/config.local").write_text("[cache]\n    type = of no kind\n")
    assert found() == []
    (tmp_path / ".dvc").rename(tmp_path / "no")
    assert found() == []


@pytest.mark.parametrize(
    ("ways", "way"),
    [(("hardlink", "symlink"), "hardlink"), (("symlink",), "symlink"), (("copy",), "copy"), ((), "copy")],
)
def test_a_file_of_the_cache_is_placed_as_dvc_would(tmp_path: Path, ways: tuple[str, ...], way: str) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 1000)
    source.chmod(0o444)
    Version({"part": source}, ways).place("part", target)
    assert target.read_bytes() == source.read_bytes()
    assert target.is_symlink() == (way == "symlink")
    assert source.stat().st_nlink == (2 if way == "hardlink" else 1)
    if way == "copy":
        assert target.stat().st_mode & 0o200


def test_where_no_link_can_be_made_the_next_way_is_taken(tmp_path: Path) -> None:
    """The memory file system is another disk."""
    if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk")
    source = Path("/dev/shm") / f"formwork-{os.getpid()}"
    try:
        source.write_bytes(b"content")
        version = Version({"part": source}, ("hardlink", "symlink"))
        version.place("part", tmp_path / "link")
        assert (tmp_path / "link").readlink() == source
        Version({"part": source}).place("part", tmp_path / "copy")
        assert not (tmp_path / "copy").is_symlink()
        assert (tmp_path / "copy").read_bytes() == b"content"
    finally:
        source.unlink()
