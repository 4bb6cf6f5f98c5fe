"""What DVC cannot hash is found before it, by name, with a command that mends it."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from formwork.obstacles import describe, find_obstacles
from tests.make_images import make_dataset

NAMES = [
    ("café.png".encode("latin-1"), "café.png"),
    ("Müller's $photo.png".encode("latin-1"), "Müller's $photo.png"),
    ("画像.png".encode("cp932"), "画像.png"),
    ("smart “quotes”.png".encode("cp1252"), None),  # its encoding cannot be told for sure
    (b"\xff\n\x1b[31m.png", None),
]


@pytest.mark.parametrize(("name", "text"), NAMES, ids=range(len(NAMES)))
def test_names_that_are_no_utf8_are_found_and_renamed_by_the_command(
    tmp_path: Path, name: bytes, text: str | None
) -> None:
    raw = make_dataset(tmp_path / "raw", per_class=1)
    os.rename(raw / "cat/000.png", os.fsencode(raw / "cat") + b"/" + name)

    (found,) = find_obstacles(raw)
    subprocess.run(["bash", "-ec", found.command], check=True)

    assert found.reason == "the name is no UTF-8"
    (renamed,) = os.listdir(raw / "cat")
    assert text in (renamed, None)
    assert not list(find_obstacles(raw))


def test_what_is_no_file_is_found_and_never_opened(tmp_path: Path) -> None:
    raw = make_dataset(tmp_path / "raw", per_class=1)
    os.mkfifo(raw / "cat/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(raw / "cat/socket"))
    (raw / "dog/gone.png").symlink_to("nowhere")
    (raw / "dog/round.png").symlink_to("round.png")
    (raw / "dog/sound.png").symlink_to("000.png")
    (raw / "dog/folder").symlink_to("../cat")
    (raw / ".hidden").mkdir()
    os.mkfifo(raw / ".hidden/pipe")

    found = {os.path.relpath(o.path, raw): o.reason for o in find_obstacles(raw)}

    assert found == {
        ".hidden/pipe": "a pipe, socket or device is no file",
        "cat/pipe": "a pipe, socket or device is no file",
        "cat/socket": "a pipe, socket or device is no file",
        "dog/gone.png": "a link to nothing",
        "dog/round.png": "a link that leads round in a circle",
    }


def test_the_message_is_short_and_safe_to_print(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / os.fsdecode(b"\xe9\x1b[31m%d" % number)).touch()

    said = describe(find_obstacles(tmp_path), tmp_path)

    assert said is not None
    assert "\x1b" not in said
    assert r"\udce9\x1b[31m" in said
    assert "... and 4 more" in said
    assert f"`convmv -r -f latin-1 -t utf8 --notest {tmp_path}`" in said
    assert describe([], tmp_path) is None
