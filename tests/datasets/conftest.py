"""A raw dataset for the link stage."""

from pathlib import Path

import pytest

from tests.datasets.linking import NAME
from tests.make_images import make_dataset


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three classes of 12 images, of two sizes."""
    return make_dataset(tmp_path / "raw" / NAME, ["cat", "a dog", "Äffin"], per_class=12, size=[(12, 10), (8, 20)])
