"""`make repack` where there is nothing to do; tests/test_pipeline_parts.py has what it does."""

from pathlib import Path

import pytest

from formwork.folders import Folders
from formwork.tools.repack import repack


def test_betons_that_are_files_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """DVC, which would fail here, is not called: to convert them again would encode every image."""
    folders = Folders.of("pets")
    beton = tmp_path / folders.beton("train")
    beton.parent.mkdir(parents=True)
    beton.write_bytes(b"a beton")
    assert repack(tmp_path, folders) == 0
    said = "No beton in data/processed/pets is in parts: there is nothing to repack.\n"
    assert capsys.readouterr().out == said
