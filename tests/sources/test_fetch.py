"""The fetch stage writes a dataset whole, and never touches what it did not write."""

import errno
import importlib
import inspect
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from formwork.errors import DatasetError
from formwork.limits import ADVICE
from formwork.params import NoOptions, Sources
from formwork.sources import digits
from formwork.sources.fetch import RECORD, fetch
from tests import limits


def write_few(folder: Path, archives: Path, options: NoOptions) -> None:
    """A quick source, as good as any where what it writes does not matter."""
    for number in range(30):
        path = folder / str(number % 2) / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number))


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fetched folder of 30 files, to be edited."""
    monkeypatch.setattr(digits, "write", write_few)
    target = tmp_path / "raw" / "digits"
    fetch("digits", target, Sources())
    return target


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_digits_are_those_of_scikit_learn_and_the_same_bytes_each_time(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    targets = [tmp_path / "digits", tmp_path / "another folder" / "digits"]
    for target in targets:
        fetch("digits", target, Sources())

    expected = load_digits()
    files = sorted(targets[0].glob("*/*.png"), key=lambda path: path.name)
    images = np.stack([np.asarray(Image.open(path)) for path in files])
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.uint8
    assert (np.rint(images * (16 / 255)) == expected.images).all()
    assert [int(path.parent.name) for path in files] == expected.target.tolist()
    assert sorted(p.name for p in targets[0].iterdir()) == [RECORD, *"0123456789"]
    assert content(targets[0]) == content(targets[1])


def test_what_was_fetched_before_sources_had_options_is_left_alone(target: Path) -> None:
    record = json.loads((target / RECORD).read_text())
    del record["options"]
    (target / RECORD).write_text(json.dumps(record))
    before = content(target)

    fetch("digits", target, Sources())

    assert content(target) == before


def test_what_is_complete_is_left_alone(target: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [target, *target.rglob("*")]}

    fetch("digits", target, Sources())

    assert {path: path.stat().st_mtime_ns for path in [target, *target.rglob("*")]} == before


EDITS: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda target: (target / "1/3.png").write_bytes(b"mine"), "1/3.png (changed)"),
    "removed": (lambda target: (target / "1/3.png").unlink(), "1/3.png (removed)"),
    "added": (lambda target: (target / "1/mine.png").write_bytes(b"mine"), "1/mine.png (added)"),
    "linked": (lambda target: (target / "1/mine.png").symlink_to("nowhere"), "1/mine.png (added)"),
    "linked folder": (lambda target: (target / "mine").symlink_to(target.parent), "mine (added)"),
    "of nobody": (lambda target: (target / RECORD).unlink(), "was not written by fetching 'digits'"),
    "record damaged": (lambda target: (target / RECORD).write_text("{"), "was not written by fetching 'digits'"),
    "record of another kind": (
        lambda target: (target / RECORD).write_text('{"version": 1, "options": {}, "sha256": 3}'),
        "was not written by fetching 'digits'",
    ),
    "many": (lambda target: shutil.rmtree(target / "0"), "... and 5 more"),
}


@pytest.mark.parametrize(("edit", "reason"), EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("version", [digits.VERSION, digits.VERSION + 1])
def test_what_somebody_edited_is_kept(
    target: Path, monkeypatch: pytest.MonkeyPatch, edit: Callable[[Path], object], reason: str, version: int
) -> None:
    monkeypatch.setattr(digits, "VERSION", version)
    edit(target)
    before = content(target)
    links = {path for path in target.rglob("*") if path.is_symlink()}

    with pytest.raises(DatasetError) as error:
        fetch("digits", target, Sources())

    assert content(target) == before
    assert {path for path in target.rglob("*") if path.is_symlink()} == links
    for expected in (reason, f"mv {target} {target}-mine", "dvc add", "set data.name to digits-mine", "dvc repro"):
        assert expected in str(error.value)


def test_an_untouched_older_version_is_replaced(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits, "VERSION", 2)
    monkeypatch.setattr(digits, "write", lambda folder, *_: (folder / "new").touch())

    fetch("digits", target, Sources())

    assert sorted(content(target)) == [RECORD, "new"]
    assert json.loads((target / RECORD).read_text())["version"] == 2
    assert list(target.parent.iterdir()) == [target]


def test_a_link_to_a_fetched_folder_is_replaced_again_and_again(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As somebody has it who moved a dataset to a larger disk."""
    moved = target.rename(target.parent.parent / "larger")
    target.symlink_to(moved)
    fetch("digits", target, Sources())
    assert target.is_symlink()
    for version in (2, 3):
        monkeypatch.setattr(digits, "VERSION", version)
        if version == 3:
            target.rename(moved.with_name("larger still"))
            target.symlink_to(moved.with_name("larger still"))

        fetch("digits", target, Sources())

        assert json.loads((target / RECORD).read_text())["version"] == version
        assert list(target.parent.iterdir()) == [target]


def test_a_link_to_nothing_is_named_before_anything_is_downloaded(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits, "write", None)
    shutil.rmtree(target)
    target.symlink_to("/mount/digits")

    with pytest.raises(DatasetError, match=f"{target} is a link to /mount/digits, which is not there"):
        fetch("digits", target, Sources())


def test_a_folder_that_cannot_be_replaced_is_put_back(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(target)
    monkeypatch.setattr(digits, "VERSION", 2)
    replace = os.replace

    def replace_or_fail(source: Path, to: Path) -> None:
        if source.name == ".digits.partial":
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        replace(source, to)

    monkeypatch.setattr(os, "replace", replace_or_fail)

    with pytest.raises(DatasetError, match=r"could not be written: .*Disk quota exceeded\. Nothing was changed"):
        fetch("digits", target, Sources())

    assert content(target) == before
    assert [path.name for path in target.parent.iterdir() if path.suffix != ".archives"] == ["digits"]


@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_is_named_and_leaves_nothing(target: Path, monkeypatch: pytest.MonkeyPatch, existing: bool) -> None:
    before = content(target)
    monkeypatch.setattr(digits, "VERSION", 2)
    if not existing:
        shutil.rmtree(target)

    with limits.file_size(80), pytest.raises(DatasetError) as error:
        fetch("digits", target, Sources())

    assert str(error.value) == (
        f"{target} could not be written: File too large. Nothing was changed. {ADVICE[errno.EFBIG]}"
    )
    assert list(target.parent.iterdir()) == ([target] if existing else [])
    assert not existing or content(target) == before


@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_fetch_changes_nothing_and_the_next_cleans_up(
    target: Path, monkeypatch: pytest.MonkeyPatch, existing: bool
) -> None:
    before = content(target)
    if not existing:
        shutil.rmtree(target)

    def write_some(folder: Path, archives: Path, options: NoOptions) -> None:
        (folder / "leftover").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(digits, "VERSION", 0)
        patch.setattr(digits, "write", write_some)
        with pytest.raises(KeyboardInterrupt):
            fetch("digits", target, Sources())
    assert target.exists() == existing

    fetch("digits", target, Sources())

    assert content(target) == before


@pytest.mark.parametrize(("name", "advice"), [("digit", "Did you mean 'digits'?"), ("../x", "Known: ")])
def test_an_unknown_name_gets_the_nearest(tmp_path: Path, name: str, advice: str) -> None:
    with pytest.raises(DatasetError) as error:
        fetch(name, tmp_path / "x", Sources())

    assert f"data.fetch in params.yaml lists {name!r}" in str(error.value)
    assert advice in str(error.value)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", Sources.model_fields)
def test_each_source_is_a_module(name: str) -> None:
    source = importlib.import_module(f"formwork.sources.{name}")

    assert source.VERSION >= 1
    assert list(inspect.signature(source.write).parameters) == ["folder", "archives", "options"]
