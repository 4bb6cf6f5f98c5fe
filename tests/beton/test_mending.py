"""The commands that a message about a damaged beton gives bring the sound one back, however DVC keeps it."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from formwork.beton.faults import commands_to_mend
from formwork.beton.read import open_beton
from formwork.conversion.write import write_beton
from formwork.errors import BetonError
from formwork.params import BetonParams
from formwork.tools.inspect.verify import find_damage
from tests.make_images import make_dataset, make_manifest
from tests.workspace import Workspace

STAGE = """
stages:
  convert:
    cmd: rm -f train.beton && cp ../sound.beton train.beton
    outs: [train.beton]
"""
CONFIG = """
[core]
    remote = here
['remote "here"']
    url = ../remote
[cache]
    type = {link}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    raw = make_dataset(tmp_path / "raw", per_class=4)
    manifest = make_manifest(raw, tmp_path / "train.csv")
    write_beton(manifest, raw, tmp_path / "sound.beton", BetonParams(write_mode="raw"), 1)
    return tmp_path


def damage(path: Path) -> None:
    """Flip a bit as a disk may: time, size and permissions of the file, and of what it is a link to, stay the same."""
    before, place = path.stat(), int(open_beton(path).offsets[3])
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    path.chmod(before.st_mode & 0o777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(find_damage(open_beton(path), 1)) == [3]


@pytest.mark.parametrize("link", ["copy", "hardlink", "symlink"])
def test_the_advised_commands_bring_the_sound_file_back(
    folder: Path, environment: Mapping[str, str], link: str
) -> None:
    repo = Workspace(folder / "repo", environment)
    repo.path.mkdir()
    repo.git("init --quiet")
    repo.dvc("init --quiet")
    (repo / ".dvc/config").write_text(CONFIG.format(link=link))
    (repo / "dvc.yaml").write_text(STAGE)
    repo.dvc("repro convert")
    repo.dvc("push")
    path, sound = repo / "train.beton", (folder / "sound.beton").read_bytes()
    look, pull, again = commands_to_mend(Path("train.beton"))

    damage(path)
    repo.shell(look)
    repo.dvc(pull.removeprefix("dvc "))
    assert path.read_bytes() == sound

    damage(path)
    repo.shell(look)
    repo.dvc(again.removeprefix("dvc "))
    assert path.read_bytes() == sound


def test_the_commands_take_any_name(tmp_path: Path) -> None:
    path = tmp_path / "my photos; touch pwned" / "train.beton"
    path.parent.mkdir()
    path.write_bytes(b"no beton")
    with pytest.raises(BetonError, match=r"Run `chmod u\+w '.*my photos; touch pwned/train.beton'; touch '"):
        open_beton(path)
