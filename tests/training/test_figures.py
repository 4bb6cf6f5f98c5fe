"""The figures of each epoch, where they cannot be written."""

from pathlib import Path

import pytest

from formwork.errors import FormworkError
from formwork.training.callbacks import EpochLogger
from tests import limits

EPOCH = {"epoch": 1, "loader": "ffcv", "results": {"train/loss": 1.25}, "speed": {"seconds": 1.5}}


@pytest.fixture(autouse=True)
def no_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVCLive opens the repository that it is in, and DVC's own files could not grow either."""
    monkeypatch.chdir(tmp_path)


def make_logger(folder: Path) -> EpochLogger:
    logger = EpochLogger(folder / "train", folder / "speed", None, None)
    logger.writes = True
    return logger


@pytest.mark.parametrize("room", [10, 50])  # less than a curve has, and than metrics.json has
def test_a_full_disk_is_named_and_leaves_no_json_cut_short(tmp_path: Path, room: int) -> None:
    with limits.file_size(room), pytest.raises(FormworkError, match=r"Cannot write .*/train: File too large\."):
        make_logger(tmp_path)._log(EPOCH)
    assert not list(tmp_path.rglob("*.json"))


def test_a_file_where_their_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").touch()
    with pytest.raises(FormworkError, match=r"Cannot write .*/train.*: (Not a directory|File exists)"):
        make_logger(tmp_path)._log(EPOCH)
