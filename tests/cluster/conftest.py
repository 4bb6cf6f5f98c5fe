"""A Dask scheduler with two workers, which the tests here share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dask_processes import DaskProcesses, dask_processes


@pytest.fixture(scope="package")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskProcesses]:
    with dask_processes(tmp_path_factory.mktemp("dask"), workers=2) as processes:
        yield processes


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace, in which stages run."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
