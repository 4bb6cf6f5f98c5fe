"""Atomic writing, with real locks, links, limits and killed processes."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import formwork
from formwork.errors import FormworkError
from formwork.files import atomic_write, check_writable, write_text, writing
from tests import limits, permissions

SRC = Path(formwork.__file__).parents[1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    return path


small_files = limits.file_size(1_000)
"""Decorates a test in which no file can grow beyond so many bytes: writing fails where it would on a full disk. No
fixture, as pytest itself writes before those end."""


def test_content_appears_at_the_end(old: Path) -> None:
    with atomic_write(old) as file:
        file.write(b"new")
        file.flush()
        assert old.read_bytes() == b"old"

    assert old.read_bytes() == b"new"
    assert names(old.parent) == ["file"]


def test_makes_the_folder_and_a_file_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    mask = os.umask(0o022)
    try:
        write_text(path, "ä\udcff")
    finally:
        os.umask(mask)

    assert path.read_bytes() == b"\xc3\xa4\xff"
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, FormworkError])
@pytest.mark.parametrize("existing", [True, False])
def test_nothing_changes_when_the_block_fails(old: Path, error: type[BaseException], existing: bool) -> None:
    if not existing:
        old.unlink()

    def write_half() -> None:
        with atomic_write(old) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        write_half()

    assert names(old.parent) == (["file"] if existing else [])
    assert not existing or old.read_bytes() == b"old"


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_link_is_replaced_and_what_it_leads_to_is_not(old: Path, link: str) -> None:
    path = old.with_name("link")
    getattr(path, link)(old)

    write_text(path, "new")

    assert old.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_what_a_killed_writer_left_is_overwritten(old: Path) -> None:
    with atomic_write(old):
        [temporary] = set(names(old.parent)) - {"file"}
    old.with_name(temporary).write_bytes(b"longer than what follows")

    write_text(old, "new")

    assert old.read_bytes() == b"new"
    assert names(old.parent) == ["file"]


def test_a_second_writer_is_refused(old: Path) -> None:
    with atomic_write(old) as first:
        first.write(b"first")
        with pytest.raises(FormworkError, match=f"Another process is writing {old}"), atomic_write(old):
            pass

    assert old.read_bytes() == b"first"


def test_a_killed_writer_leaves_the_old_file_and_the_next_one_succeeds(old: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from formwork.files import atomic_write\n"
        "with atomic_write(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush()\n"
        "    print('half', flush=True); sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", script, old], env=os.environ | {"PYTHONPATH": str(SRC)}, **pipes
    ) as writer:
        assert writer.stdout.readline() == b"half\n"
        with pytest.raises(FormworkError, match="Another process"):
            write_text(old, "new")
        writer.kill()
        assert writer.wait() == -signal.SIGKILL

    assert old.read_bytes() == b"old"
    write_text(old, "new")
    assert old.read_bytes() == b"new"
    assert names(old.parent) == ["file"]


def test_a_folder_that_cannot_be_written_is_named(old: Path) -> None:
    old.parent.chmod(0o555)
    try:
        with permissions.enforced(), pytest.raises(FormworkError, match=f"Cannot write {old}: Permission denied"):
            write_text(old, "new")
    finally:
        old.parent.chmod(0o755)

    assert old.read_bytes() == b"old"


def test_what_is_in_the_way_is_named(old: Path) -> None:
    folder, dangling = old.with_name("folder"), old.with_name("dangling")
    folder.mkdir()
    dangling.symlink_to("gone")

    for path, obstacle in (
        (old / "new", f"{old} is no folder. Move it away."),
        (old / "a" / "new", f"{old} is no folder. Move it away."),
        (folder, "it is a folder. Move it away."),
        (dangling / "new", f"{dangling} is a link to gone, which is no folder. Mount it, or remove the link."),
    ):
        for refused in (lambda: write_text(path, "new"), lambda: check_writable(path)):  # noqa: B023
            with pytest.raises(FormworkError, match=re.escape(f"Cannot write {path}: {obstacle}")):
                refused()

    assert old.read_bytes() == b"old"
    assert names(old.parent) == ["dangling", "file", "folder"]


def test_a_link_to_nothing_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "dangling"
    path.symlink_to("gone")

    write_text(path, "new")

    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["dangling"]


def test_what_can_be_written_is_left_as_it_is(old: Path) -> None:
    check_writable(old, old.with_name("new"), old.with_name("a") / "new")

    assert old.read_bytes() == b"old"
    assert names(old.parent) == ["a", "file"]
    assert names(old.with_name("a")) == []


@small_files
def test_what_cannot_be_written_is_refused_before_the_work(old: Path) -> None:
    with pytest.raises(FormworkError, match=f"Cannot write .*{old.name}.*: File too large"):
        check_writable(old)
    old.parent.chmod(0o555)
    try:
        with permissions.enforced(), pytest.raises(FormworkError, match=f"Cannot write {old}: Permission denied"):
            check_writable(old)
    finally:
        old.parent.chmod(0o755)

    assert names(old.parent) == ["file"]


@small_files
def test_what_a_library_cannot_write_is_named(old: Path) -> None:
    with pytest.raises(FormworkError, match=f"Cannot write {old.parent}: File too large"), writing(old.parent):
        old.write_bytes(bytes(2_000))
    with pytest.raises(FormworkError, match=f"Cannot write {old}/new: Not a directory"), writing(old.parent):
        (old / "new").write_bytes(b"")
    with pytest.raises(OSError, match="of the library"), writing(old.parent):
        raise OSError("an error of the library itself")


@small_files
def test_a_writer_that_hides_the_reason_does_not_hide_it(old: Path) -> None:
    message = f"Cannot write {old}: File too large. Nothing was changed."
    with pytest.raises(FormworkError, match=message), atomic_write(old) as file:
        torch.save({"weights": torch.zeros(100_000)}, file)

    assert old.read_bytes() == b"old"
    assert names(old.parent) == ["file"]


@pytest.mark.parametrize("size", [5_000, 5_000_000])  # less and more than Python buffers
@small_files
def test_a_full_disk_is_named(old: Path, size: int) -> None:
    with pytest.raises(FormworkError, match=f"Cannot write {old}: File too large. Nothing was changed."):
        write_text(old, "x" * size)

    assert old.read_bytes() == b"old"
    assert names(old.parent) == ["file"]
