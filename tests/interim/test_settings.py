"""dataset.json survives the round trip, and damage is named."""

from pathlib import Path

import pytest

from formwork.errors import DatasetError
from formwork.interim.settings import Settings, read_settings

SETTINGS = Settings(
    name="mine",
    class_names=["a b", "ä,\n"],
    resolution=8,
    mean=[0.1, 0.2, 0.3],
    std=[0.4, 0.5, 0.6],
    augment_train=[{"Resize": {}}, {"RandomCrop": {"padding": 1}}],
    augment_val=[],
)


def test_round_trip(tmp_path: Path) -> None:
    SETTINGS.write(tmp_path / "dataset.json")

    assert read_settings(tmp_path / "dataset.json") == SETTINGS


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff", b'{"name": "mine"', SETTINGS.model_dump_json().encode() * 2]
)
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes(content)

    with pytest.raises(DatasetError, match=f"{path} is damaged or of another version. Run `dvc repro -f link`."):
        read_settings(path)


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"{tmp_path} cannot be read: Is a directory"):
        read_settings(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"

    with pytest.raises(DatasetError, match=f"{path} is missing. Run `dvc pull {path}`, or `dvc repro link`"):
        read_settings(path)
